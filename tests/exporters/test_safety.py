"""The safety check on the exported file, and the self-check by canaries before a file gets its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetext_exporters import export, safety
from safetext_exporters import onnx as onnx_target
from support.made_runs import disturb, sd1_run

from safetext_sdk.errors import ModelError
from safetext_sdk.models import HardenedModel, load_model
from safetext_sdk.policy import load_policy

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    original, hardened = sd1_run(tmp_path_factory.mktemp("sd1"))
    hardened.run.write_policy(load_policy("weapons").to_yaml())
    hardened.run.write_manifest(hardened.run.record)
    return original, hardened


def test_exported_file_is_measured_on_held_out_unsafe_prompts(run, tmp_path: Path) -> None:
    _, hardened = run
    result = export(hardened, "onnx", out=tmp_path / "onnx", recheck=12)
    record = json.loads((result.folder / "export.json").read_text())
    figures = record["safety"]
    assert figures["prompts"] == 12
    assert figures["redirected_torch"] == figures["redirected_exported"]
    assert figures["same_verdict"] == 1.0
    assert record["self_check"]["verdict"] == "hardened"
    assert any("12 held-out unsafe prompts" in note for note in result.notes)


def test_a_working_copy_in_half_precision_is_exported_from_the_files_of_its_run(run, tmp_path: Path) -> None:
    """As on a GPU, where `harden` hands back encoders in bfloat16: parity is that of the weights on disk."""
    _, hardened = run
    working = HardenedModel(load_model(hardened.run.path, device="cpu", precision="bf16"), hardened.run)
    assert working.model.dtype == torch.bfloat16
    result = export(working, "onnx", out=tmp_path / "onnx", recheck=0)
    again = export(hardened, "onnx", out=tmp_path / "again", recheck=0)
    assert result.parity == again.parity


def test_a_weaker_file_is_pointed_out() -> None:
    figures = {"prompts": 50, "redirected_torch": 0.9, "redirected_exported": 0.8, "same_verdict": 0.9}
    assert safety.notes({"safety": figures})[0].startswith("WEAKER THAN THE MODEL")
    assert not safety.notes({"safety": {**figures, "redirected_exported": 0.89}})[0].startswith("WEAKER")
    assert "neither" in safety.notes({"safety": figures, "self_check": {"verdict": "neither"}})[1]


def test_a_file_of_another_encoder_is_never_kept(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter is made to write another encoder's file: the canaries find it, whatever parity says."""
    original, hardened = run
    other = disturb(load_model(original.source.path, device="cpu").encoders["text_encoder"], seed=77)
    real = onnx_target.export_encoder
    monkeypatch.setattr(
        onnx_target, "export_encoder", lambda encoder, *args, **options: real(other, *args, **options)
    )
    with pytest.raises(ModelError, match="is not the hardened encoder"):
        export(hardened, "onnx", out=tmp_path / "onnx", recheck=0)
    monkeypatch.setattr(
        onnx_target,
        "export_encoder",
        lambda encoder, *args, **options: real(original.encoders["text_encoder"], *args, **options),
    )
    with pytest.raises(ModelError, match="it is the original encoder"):
        export(hardened, "onnx", out=tmp_path / "onnx", recheck=0)
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_measured_says_why(run, tmp_path: Path) -> None:
    original, hardened = run
    bare = export(original, "onnx", out=tmp_path / "bare")
    assert json.loads((bare.folder / "export.json").read_text())["safety"] == {
        "not_measured": "no run folder"
    }
    with torch.no_grad():
        assert safety.recheck(onnx_target.Subject(hardened.model, hardened.run), tmp_path, {}, 0) == {
            "safety": {"not_measured": "recheck=0"}
        }
