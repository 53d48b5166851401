"""Where the denoiser reads no pads, a training step computes none behind its longest prompt, and what it
reads is what all positions would have given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.hardening.teacher import build_table, read_lengths
from safetext_sdk.methods.prompt_table import Pair
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.model import EncoderBundle

TEXTS = ["a gun", "a picture of the cat with a bouquet of flowers", "a cat"]
ENDS = ("auraflow", "chroma", "kandinsky5", "lumina2", "pixart", "qwenimage", "zimage")
WHOLE = ("flux2", "flux2-dev", "hidream", "qwenimage21", "sana")
"""Pads are read; they come first; or what is read is counted from the end."""


def build(name: str, folder: Path) -> Path:
    return RECENT[name](folder) if name in RECENT else build_by_hand(name)[0](folder)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("margin", [0, 4])
def test_what_is_read_is_what_all_positions_would_give(tmp_path: Path, name: str, margin: int) -> None:
    model = load_model(build(name, tmp_path / "m"))
    table = build_table(model, [Pair(TEXTS[0], TEXTS[2], "weapon")], [(t, "safe") for t in TEXTS])
    rows = np.arange(len(table.texts))
    lengths = read_lengths(table, rows, name, whole=True, margin=margin)
    tokens = {n: parts["input_ids"].shape[1] for n, parts in table.tokens.items()}
    assert lengths["text_encoder"] < 0.6 * tokens["text_encoder"]
    bundle = EncoderBundle(model.family, model.encoders, model.options)
    everything, cut = table.pick(rows, {}, model.device), table.pick(rows, lengths, model.device)
    with torch.no_grad():
        want, found = bundle(everything), bundle(cut)
    masks, kept = model.reader.masks(everything), model.reader.masks(cut)
    for n in want:
        if n not in masks or want[n].ndim != 3:
            torch.testing.assert_close(found[n], want[n])
            continue
        assert torch.equal(masks[n].sum(1), kept[n].sum(1)), "no position that counts is lost"
        inside = kept[n].unsqueeze(-1)
        torch.testing.assert_close(found[n] * inside, want[n][:, : found[n].shape[1]] * inside)


@pytest.mark.parametrize("name", WHOLE)
def test_other_families_read_all_positions(tmp_path: Path, name: str) -> None:
    model = load_model(build(name, tmp_path / "m"))
    table = build_table(model, [Pair(TEXTS[0], TEXTS[2], "weapon")], [(t, "safe") for t in TEXTS])
    lengths = read_lengths(table, np.arange(len(table.texts)), name, whole=True, margin=4)
    assert lengths == {n: parts["input_ids"].shape[1] for n, parts in table.tokens.items()}


def test_the_first_families_read_their_pads() -> None:
    assert all(not FAMILIES.get(name).ends_with_prompt for name in ("sd1", "sd2", "sdxl", "sd3", "flux"))
