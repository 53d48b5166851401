"""A source in several shards stays in several shards, and a merge from file to file gives what a merge in
memory gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from safetext_exporters import export
from support.hardening_case import POLICY, run
from support.recent_minis import RECENT

from safetext_sdk.hardening import trainable
from safetext_sdk.models import load_model
from safetext_sdk.models.checks import weight_files
from safetext_sdk.models.layout import encoder_files
from safetext_sdk.models.writing import encoder_state, round_to_stored, write_encoder
from safetext_sdk.validation.binding import _same
from safetext_sdk.verification.file_checks import verify_files
from safetext_sdk.verification.identify import verify_against

INDEX = "model.safetensors.index.json"
TRAIN = {"prompts": 8, "wide_safe": 8, "lora_learning_rate": 0.3}


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Z-Image in bf16 with its encoder in several files."""
    folder = RECENT["zimage"](tmp_path_factory.mktemp("sharded") / "model")
    encoder = load_model(folder).encoders["text_encoder"].to(torch.bfloat16)
    (folder / "text_encoder" / "model.safetensors").unlink()
    encoder.save_pretrained(folder / "text_encoder", max_shard_size="20KB")
    assert len(weight_files(folder / "text_encoder")) > 2
    return folder


def contents(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: load_file(path) for path in weight_files(folder)}


def test_an_encoder_is_written_in_the_shards_of_its_source(sharded: Path, tmp_path: Path) -> None:
    model = load_model(sharded)
    files = model.layout.encoders["text_encoder"]
    write_encoder(model.encoders["text_encoder"], files, tmp_path / "out")
    before, after = contents(sharded / "text_encoder"), contents(tmp_path / "out")
    assert {name: set(state) for name, state in before.items()} == {n: set(s) for n, s in after.items()}
    assert all(torch.equal(after[n][k], t) for n, state in before.items() for k, t in state.items())
    index, source = (
        json.loads((place / INDEX).read_text()) for place in (tmp_path / "out", sharded / "text_encoder")
    )
    assert index["weight_map"] == source["weight_map"]
    assert index["metadata"]["total_size"] == source["metadata"]["total_size"]
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_shards_goes_from_harden_to_verify(sharded: Path, tmp_path: Path, precision: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    model = load_model(sharded, precision=precision)
    hardened = run(model, tmp_path / "policy.yaml", tmp_path / "run", 4, False, train=TRAIN)
    written = weight_files(tmp_path / "run" / "text_encoder")
    assert [p.name for p in written] == [p.name for p in weight_files(sharded / "text_encoder")]
    recorded = hardened.run.manifest["files"]
    assert {f"text_encoder/{p.name}" for p in written} | {f"text_encoder/{INDEX}"} <= set(recorded)
    files = model.layout.encoders["text_encoder"]
    # What was measured and what lies on disk are the same numbers.
    assert _same(hardened.model.encoders["text_encoder"], files, written)
    assert verify_files(tmp_path / "run").exit_code == 0
    assert verify_against(tmp_path / "run", tmp_path / "run").exit_code == 0
    assert verify_against(tmp_path / "run", sharded).exit_code == 1
    exported = export(hardened, "diffusers").path / "text_encoder"
    assert (exported / INDEX).is_file()
    assert verify_against(tmp_path / "run", exported.parent).exit_code == 0


def test_a_merge_from_file_to_file_is_the_merge_in_memory(sharded: Path, tmp_path: Path) -> None:
    original = load_model(sharded, precision="bf16").encoders["text_encoder"]
    files = encoder_files(sharded / "text_encoder", "text_encoder", trainable_architecture(sharded))
    student: Any = trainable.lora_copy(original, files, trainable.LoraSize(4, 8), seed=0)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    trainable.write_merged_lora(student, original, files, tmp_path / "out")
    whole = trainable.merge_lora(student, files)
    round_to_stored(whole, files)
    want = encoder_state(whole, files)
    got = {k: t for state in contents(tmp_path / "out").values() for k, t in state.items()}
    assert set(got) == set(want)
    assert all(got[key].dtype == t.dtype and torch.equal(got[key], t) for key, t in want.items())
    source = {k: t for state in contents(sharded / "text_encoder").values() for k, t in state.items()}
    moved = {key for key, t in source.items() if not torch.equal(got[key], t)}
    # LoRA stands beside every linear layer that is read, and beside nothing else.
    assert moved
    assert all(key.endswith("_proj.weight") for key in moved)


def trainable_architecture(folder: Path) -> Any:
    return load_model(folder).layout.encoders["text_encoder"].architecture
