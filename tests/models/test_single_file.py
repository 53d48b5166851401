"""One file in the LDM layout gives the conditioning and the pictures of the folder that it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from support.hardening_case import POLICY
from support.ldm_case import single_file
from support.minis import build_sd1, build_sdxl

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model
from safetext_sdk.models.pipelines import whole_folder
from safetext_sdk.validation.subjects import resolve

PROMPTS = ["a gun", "", "a picture of the cat with a bouquet of flowers", "apple " * 120]


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder, single file) of one model."""
    place = tmp_path_factory.mktemp(request.param)
    folder = {"sd1": build_sd1, "sdxl": build_sdxl}[request.param](place / "folder")
    (place / "file").mkdir()
    return folder, single_file(folder, place / "file" / "model.safetensors")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty-cache"))


def load(ref: Path, **more: Any) -> Any:
    return load_model(ref, device="cpu", precision="fp32", **more)


def test_conditioning_equals_that_of_the_folder(both: tuple[Path, Path]) -> None:
    folder, file = both
    one, two = load(folder), load(file, tokenizer=folder)
    assert two.family == one.family
    assert two.options.get("force_zeros_for_empty_prompt") == one.options.get("force_zeros_for_empty_prompt")
    for skip in (None, 1):
        a, b = one.encode(PROMPTS, clip_skip=skip), two.encode(PROMPTS, clip_skip=skip)
        assert list(a.tensors) == list(b.tensors)
        assert all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
    assert list(two.source.files) == ["model.safetensors"]
    with pytest.raises(
        ModelError, match="no complete pipeline to copy"
    ):  # the folder beside it may hold another denoiser
        whole_folder(two)


def test_pictures_equal_those_of_the_folder(both: tuple[Path, Path]) -> None:
    folder, file = both
    pictures, states = [], []
    for model in (load(folder), load(file, tokenizer=folder)):
        pipe = model.pipeline()
        assert pipe.text_encoder is model.encoders["text_encoder"]
        states.append({**pipe.unet.state_dict(prefix="unet."), **pipe.vae.state_dict(prefix="vae.")})
        made = pipe(
            "a cat",
            num_inference_steps=2,
            height=16,
            width=16,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        )
        pictures.append(torch.from_numpy(made.images))
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    torch.testing.assert_close(
        *pictures, rtol=0, atol=1e-5
    )  # equal weights that lie otherwise in memory add up in another order


def test_a_file_inside_its_diffusers_folder_needs_no_more(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = both
    whole = Path(shutil.copytree(folder, tmp_path / "whole"))
    shutil.copy(file, whole / "v1.safetensors")
    found = load(whole / "v1.safetensors")
    assert torch.equal(found.encode(PROMPTS).flat(), load(folder).encode(PROMPTS).flat())
    assert found.source.tokenizer == str(whole)


def test_what_is_missing_is_said_in_one_line(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = both
    with pytest.raises(ModelError, match=r"holds no tokenizer.*hf download.*tokenizer=folder") as caught:
        load(file)
    assert "\n" not in str(caught.value)
    little = tmp_path / "little"
    for part in folder.iterdir():
        if part.name.startswith(("tokenizer", "text_encoder")):
            shutil.copytree(part, little / part.name, ignore=shutil.ignore_patterns("*.safetensors"))
    model = load(file, tokenizer=little)  # enough to harden
    assert torch.equal(model.encode(PROMPTS).flat(), load(folder).encode(PROMPTS).flat())
    with pytest.raises(ModelError, match=r"pictures need a complete diffusers folder"):
        model.pipeline()
    shutil.copy(folder / "model_index.json", little)
    with pytest.raises(ModelError, match=r"the pipeline of .* cannot be loaded") as caught:
        load(file, tokenizer=little).pipeline()
    assert "\n" not in str(caught.value)


def test_another_architecture_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = both
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    path = other / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    for change in ({"num_hidden_layers": 5}, {"hidden_size": 64}):
        path.write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match="wrong architecture"):
            load(file, tokenizer=other)


def test_a_hardened_file_comes_back_from_its_run_folder(tmp_path: Path) -> None:
    from safetext_sdk.hardening.harden import harden
    from safetext_sdk.hardening.settings import TrainConfig
    from safetext_sdk.policy import load_policy

    folder = build_sd1(tmp_path / "folder")
    file = single_file(folder, tmp_path / "model.safetensors")
    (tmp_path / "policy.yaml").write_text(POLICY)
    small = TrainConfig(steps=2, prompts=8, batch_size=2, wide_safe=0, learning_rate=3e-3)
    policy = load_policy(tmp_path / "policy.yaml")
    done = harden(load(file, tokenizer=folder), policy, train=small, out=tmp_path / "run", progress=False)
    again = load(tmp_path / "run")
    assert torch.equal(again.encode(PROMPTS).flat(), done.model.encode(PROMPTS).flat())
    assert not torch.equal(again.encode(PROMPTS).flat(), load(folder).encode(PROMPTS).flat())
    measured = resolve(None, tmp_path / "run", None, device="cpu")
    assert torch.equal(measured.original.encode(PROMPTS).flat(), load(folder).encode(PROMPTS).flat())
    moved = file.rename(tmp_path / "folder" / file.name)
    again = load(tmp_path / "run", base=moved)  # beside its tokenizer now, and still read with the run's
    assert torch.equal(again.encode(PROMPTS).flat(), done.model.encode(PROMPTS).flat())
    (tmp_path / "elsewhere").mkdir()
    again = load(tmp_path / "run", base=moved.rename(tmp_path / "elsewhere" / file.name))
    assert torch.equal(again.encode(PROMPTS).flat(), done.model.encode(PROMPTS).flat())
    folder.rename(tmp_path / "moved-too")
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load(tmp_path / "run", base=tmp_path / "elsewhere" / file.name)
