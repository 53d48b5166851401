"""Methods on families with a language model or T5 alone: each trains what the denoiser reads, and nothing
that stands at a pad that it does not read changes a weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hardening_case import POLICY, run
from support.recent.whole_by_hand import PARTS
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.model import TextToImageModel

NAMES = [n for n in sorted({*RECENT, *PARTS}) if not FAMILIES.get(n).pads_are_read]
TRAIN: dict[str, Any] = {"prompts": 6, "batch_size": 2, "wide_safe": 0}
STEPS = 2  # the first moves lora_B alone, by the sign of its gradient; the second both, by its size


def not_read(name: str, attention: torch.Tensor) -> torch.Tensor:
    """Pads whose token may be any: [b, L] bool."""
    pads = attention == 0
    first = pads & (pads.cumsum(1) == 1)
    return pads & ~first if name == "chroma" else pads  # whose denoiser reads the pad behind the prompt


def with_other_pads(patch: pytest.MonkeyPatch, name: str) -> None:
    """What is tokenized from here on has another token at every pad."""
    own = TextToImageModel.tokenize

    def tokenize(model: TextToImageModel, prompts: Any) -> Any:
        found = own(model, prompts)
        for n, parts in found.items():
            if n not in model.reader.masks(found):
                continue  # pooled at its end token
            pads = not_read(name, parts["attention_mask"])
            assert pads.any()
            first = int(parts["input_ids"][0, parts["attention_mask"][0].bool()][0])
            parts["input_ids"] = parts["input_ids"].masked_fill(pads, first + 1)
        return found

    patch.setattr(TextToImageModel, "tokenize", tokenize)


def adapters(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("lora/*/adapter_model.safetensors"))
    return {f"{f.parent.name}/{key}": t for f in files for key, t in load_file(f).items()}


METHODS = ("anchor", "sage")
"""sage has all that des and steering do."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "sana" else n for n in NAMES]
)
def test_no_weight_depends_on_a_pad_that_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, method: str
) -> None:
    build = RECENT[name] if name in RECENT else build_by_hand(name)[0]
    build(tmp_path / "model")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace(", {shipped: everyday}", ""))

    def go(out: str) -> dict[str, torch.Tensor]:
        run(tmp_path / "model", policy, tmp_path / out, STEPS, False, method=method, train=TRAIN)
        return adapters(tmp_path / out)

    usual = go("usual")
    assert any("lora_B" in key and bool(weight.any()) for key, weight in usual.items())
    with monkeypatch.context() as patch:
        with_other_pads(patch, name)
        other = go("other")
    assert usual.keys() == other.keys()
    assert [key for key in usual if not torch.equal(usual[key], other[key])] == []
