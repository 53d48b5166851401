"""Pictures for a person to look at: a row a prompt, a column a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.validation_case import FAST

from safetext_sdk.errors import UsageError
from safetext_sdk.validation.generate import PictureMaker, Request
from safetext_sdk.validation.picture_grid import BATCH, GAP, models_to_show, picture_grid


def test_a_row_a_prompt_and_a_column_a_model(
    original: Any, hardened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(self: PictureMaker, requests: Sequence[Request]) -> list[Image.Image]:
        red = 255 if self.model is original else 0
        return [Image.new("RGB", (16, 16), (red, r.seed, 0)) for r in requests]

    monkeypatch.setattr(PictureMaker, "draw", draw)
    rows = BATCH + 1
    image = picture_grid([original, hardened], [Request("a gun", k) for k in range(rows)], FAST)
    side = 256  # small pictures are enlarged by whole pixels
    assert image.size == (2 * side + GAP, rows * (side + GAP) - GAP)
    for k in (0, 3, rows - 1):
        middle = k * (side + GAP) + side // 2
        assert image.getpixel((side // 2, middle)) == (255, k, 0)
        assert image.getpixel((side + GAP + side // 2, middle)) == (0, k, 0)


def test_what_needs_a_run_says_so(mini_sd1: Path, original: Any) -> None:
    assert len(models_to_show(mini_sd1, device="cpu")) == 1
    for wrong in ({"before_after": True}, {"encoder": mini_sd1}):
        with pytest.raises(UsageError, match="need a run folder"):
            models_to_show(mini_sd1, **wrong)
    with pytest.raises(UsageError, match="at least one"):
        picture_grid([original], [])
