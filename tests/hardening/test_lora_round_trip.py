"""A LoRA of each family with a language model or T5 alone: written, loaded by peft, merged, undone; and what
diffusers' own loader makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetext_exporters import export
from support import minis
from support.hardening_case import POLICY, run
from support.recent.whole_by_hand import PARTS
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.hardening.trainable import LoraSize, lora_copy, merge_lora, write_lora
from safetext_sdk.models import load_model
from safetext_sdk.models.given_encoders import read_given
from safetext_sdk.models.model import TextToImageModel

NAMES = sorted({*RECENT, *PARTS})
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PROMPTS = ["a gun", "a picture of the cat"]


def encoded(model: TextToImageModel, encoders: Mapping[str, Any] | None = None) -> torch.Tensor:
    with torch.no_grad():
        return (model.with_encoders(dict(encoders)) if encoders else model).encode(PROMPTS).flat()


def adapted(model: TextToImageModel, folder: Path) -> dict[str, Any]:
    """Every encoder that LoRA is put beside by default, with random adapters, written to ``folder``."""
    files = {n: f for n, f in model.layout.encoders.items() if model.reader.hardened_by_default(f) == "lora"}
    assert files
    students = {}
    torch.manual_seed(1)
    for name in files:
        encoder = model.encoders[name]
        size = LoraSize(2, 6, model.reader.layers_read(name, encoder))
        students[name] = lora_copy(encoder, model.layout.encoders[name], size, 0)
        for key, weight in students[name].named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight, std=0.3)
    write_lora(students, files, folder)
    return students


@pytest.mark.parametrize("name", NAMES)
def test_written_loaded_merged_and_undone(tmp_path: Path, name: str) -> None:
    from peft import PeftModel

    build = RECENT[name] if name in RECENT else build_by_hand(name)[0]
    model = load_model(build(tmp_path / "model"))
    original = encoded(model)
    students = adapted(model, tmp_path / "lora")
    want = encoded(model, students)
    assert (want - original).abs().max() > 1e-3

    fresh = load_model(tmp_path / "model")
    wrapped = {n: PeftModel.from_pretrained(fresh.encoders[n], str(tmp_path / "lora" / n)) for n in students}
    assert torch.equal(encoded(fresh, wrapped), want)
    for each in wrapped.values():
        each.merge_adapter()
    torch.testing.assert_close(encoded(fresh, wrapped), want, rtol=1e-4, atol=1e-4)
    for each in wrapped.values():
        each.unmerge_adapter()
    bare = {n: each.unload() for n, each in wrapped.items()}
    torch.testing.assert_close(encoded(fresh, bare), original, rtol=1e-4, atol=1e-5)

    again = load_model(tmp_path / "model")
    undone = {
        n: PeftModel.from_pretrained(again.encoders[n], str(tmp_path / "lora" / n)).unload() for n in students
    }
    assert torch.equal(encoded(again, undone), original), "an adapter that was never merged leaves no trace"

    merged = {n: merge_lora(s, model.layout.encoders[n]) for n, s in students.items()}
    torch.testing.assert_close(encoded(model, merged), want, rtol=1e-4, atol=1e-4)
    assert torch.equal(encoded(model), original), "the shared weights are as they were"


@pytest.mark.parametrize(
    ("name", "said"),
    [("zimage", None), ("auraflow", None), ("chroma", ValueError), ("pixart", AttributeError)],
)
def test_no_file_is_written_that_diffusers_would_take_and_leave_undefended(
    tmp_path: Path, name: str, said: type[Exception] | None
) -> None:
    """What its loader makes of such a file, so that a diffusers that learns it is noticed."""
    model = load_model(RECENT[name](tmp_path / "model"))
    assert model.reader.lora_by_pipeline == frozenset()
    original = encoded(model)
    adapted(model, tmp_path / "lora")  # with the file, as no run of this family has it
    assert (tmp_path / "lora" / DIFFUSERS_FILE).is_file()
    pipe = model.pipeline()
    if said is None and not hasattr(pipe, "load_lora_weights"):
        said = AttributeError  # AuraFlow's pipeline of diffusers 0.30: no loader, as PixArt's today

    def load() -> None:
        # By its name: offline, diffusers 0.39 looks for no file by itself.
        pipe.load_lora_weights(tmp_path / "lora", weight_name=DIFFUSERS_FILE)

    if said is None:
        load()
    else:
        with pytest.raises(said):
            load()
    assert torch.equal(encoded(model), original)


def test_a_run_has_adapters_for_peft_alone_and_the_export_says_so(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    RECENT["zimage"](tmp_path / "model")
    hardened = run(
        tmp_path / "model",
        tmp_path / "policy.yaml",
        tmp_path / "run",
        1,
        False,
        train={"prompts": 8, "wide_safe": 8},
    )
    assert (tmp_path / "run" / "lora" / "text_encoder" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "run" / "lora" / DIFFUSERS_FILE).exists()
    exported = export(hardened, "peft")
    assert not list(exported.path.rglob(DIFFUSERS_FILE))
    assert any("for peft alone" in note for note in exported.notes)
    given = read_given(exported.path, load_model(tmp_path / "model"))
    torch.testing.assert_close(
        encoded(load_model(tmp_path / "model"), given.encoders), encoded(hardened.model), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_a_pipeline_loads_the_adapters_that_a_file_is_written_for(tmp_path: Path, family: str) -> None:
    model = load_model(getattr(minis, f"build_{family}")(tmp_path / "model"))
    pipe = model.pipeline()
    assert model.reader.lora_by_pipeline == set(pipe._lora_loadable_modules) & set(model.encoders)
    original = encoded(model)
    students = {}
    torch.manual_seed(1)
    for name in sorted(model.reader.lora_by_pipeline):
        students[name] = lora_copy(model.encoders[name], model.layout.encoders[name], LoraSize(2, 6), 0)
        for key, weight in students[name].named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight, std=0.3)
    write_lora(students, model.layout.encoders, tmp_path / "lora")
    want = encoded(model, {**model.encoders, **students})
    assert (want - original).abs().max() > 1e-3
    pipe.load_lora_weights(tmp_path / "lora")
    torch.testing.assert_close(encoded(model), want, rtol=1e-4, atol=1e-4)
    pipe.unload_lora_weights()
    assert torch.equal(encoded(model), original)
