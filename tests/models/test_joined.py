"""Pieces joined again are the conditioning that they were cut from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from support.minis import (
    build_flux,
    build_plain_bert,
    build_plain_clip,
    build_sd1,
    build_sd2,
    build_sd3,
    build_sdxl,
)

from safetext_sdk.models import load_model

BUILDS: dict[str, Callable[[Path], Path]] = {
    "sd1": build_sd1,
    "sd2": build_sd2,
    "sdxl": build_sdxl,
    "sd3": build_sd3,
    "sd3 without T5": partial(build_sd3, t5=False),
    "flux": build_flux,
    "plain CLIP": build_plain_clip,
    "plain BERT": build_plain_bert,
}


@pytest.mark.parametrize("name", BUILDS)
def test_pieces_joined_are_the_conditioning(tmp_path: Path, name: str) -> None:
    model = load_model(BUILDS[name](tmp_path / "model"))
    tokens = model.tokenize(["a picture of a cat", "a flower with an apple"])
    with torch.no_grad():
        whole = model.condition(tokens)
    again = model.reader.joined(model.pieces(whole, tokens), model.options)
    assert list(again.tensors) == list(whole.tensors)
    for key, value in whole.tensors.items():
        assert torch.equal(again.tensors[key], value), key
