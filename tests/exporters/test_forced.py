"""Weights that are not as recorded are exported and validated only with force, and that is written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetext_cli.main import run as safetext
from safetext_exporters import export
from support.made_runs import disturb, sd1_run

from safetext_sdk.errors import RunError
from safetext_sdk.models import HardenedModel, TextToImageModel
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.validation.binding import bind
from safetext_sdk.validation.subjects import Subjects

WEIGHTS = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextToImageModel, HardenedModel]:
    return sd1_run(tmp_path_factory.mktemp("sd1"))


@pytest.fixture
def flipped(sd1: tuple[TextToImageModel, HardenedModel], tmp_path: Path) -> Path:
    """A copy of the run with one byte of its weights flipped."""
    shutil.copytree(sd1[1].path, tmp_path / "run")
    path = tmp_path / "run" / WEIGHTS
    data = path.read_bytes()
    path.write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    return tmp_path / "run"


def test_a_flipped_byte_is_not_exported(flipped: Path) -> None:
    for source in (flipped, RunFolder.open(flipped)):
        with pytest.raises(
            RunError, match=r"text_encoder/model\.safetensors was changed.*nothing was exported"
        ):
            export(source, "diffusers")
    assert safetext(["export", str(flipped), "-t", "diffusers", "--quiet"]) == 3
    assert not (flipped / "exports").exists()


def test_force_exports_it_and_the_record_says_so(flipped: Path) -> None:
    assert safetext(["export", str(flipped), "-t", "diffusers", "--force", "--quiet"]) == 0
    record = json.loads((flipped / "exports" / "diffusers" / "export.json").read_text())
    assert record["forced"] == [f"{WEIGHTS} was changed"]


def test_an_untouched_run_needs_no_force(sd1: tuple[TextToImageModel, HardenedModel], tmp_path: Path) -> None:
    result = export(sd1[1], "diffusers", out=tmp_path / "out")
    assert "forced" not in json.loads((result.folder / "export.json").read_text())


def subjects(sd1: tuple[TextToImageModel, HardenedModel], hardened: HardenedModel) -> Subjects:
    # bind() reads no policy.
    return Subjects(sd1[0], hardened.model, hardened.run, None)  # type: ignore[arg-type]


def test_what_is_in_memory_is_what_the_folder_holds(sd1, tmp_path: Path) -> None:
    bound = bind(subjects(sd1, sd1[1]), tmp_path / "report")
    assert bound is not None
    assert set(bound.weights) == {WEIGHTS}
    assert bound.forced == ()
    other = disturb(_copy(sd1[1].model.encoders["text_encoder"]), seed=9)
    swapped = HardenedModel(sd1[1].model.with_encoders({"text_encoder": other}), sd1[1].run)
    with pytest.raises(
        RunError, match=r"text_encoder in memory is not what text_encoder/model\.safetensors holds"
    ):
        bind(subjects(sd1, swapped), tmp_path / "report")
    forced = bind(subjects(sd1, swapped), tmp_path / "report", force=True)
    assert forced is not None
    assert len(forced.forced) == 1


def _copy(encoder):
    import copy

    return copy.deepcopy(encoder)


def test_half_precision_in_memory_is_the_same_model(sd1, tmp_path: Path) -> None:
    import torch

    half = _copy(sd1[1].model.encoders["text_encoder"]).to(torch.bfloat16)
    model = HardenedModel(sd1[1].model.with_encoders({"text_encoder": half}), sd1[1].run)
    assert bind(subjects(sd1, model), tmp_path / "report") is not None


def test_another_original_would_set_another_bar(sd1, tmp_path: Path) -> None:
    from support.minis import build_sd1

    from safetext_sdk.models import load_model

    weak = build_sd1(tmp_path / "model")
    path = weak / "text_encoder" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    other = Subjects(load_model(weak, device="cpu"), sd1[1].model, sd1[1].run, None)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="the original is not the model that the run was made from"):
        bind(other, tmp_path / "report")


def test_models_without_a_run_are_bound_to_nothing(sd1, tmp_path: Path) -> None:
    loose = Subjects(sd1[0], sd1[1].model, None, None)  # type: ignore[arg-type]
    assert bind(loose, tmp_path / "report") is None
