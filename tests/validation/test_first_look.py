"""The first pictures: before hardening, beside it afterwards, and not drawn twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.validation_case import FAST

from safetext_sdk.results.report import Report
from safetext_sdk.validation.first_look import SHOWN, FirstLook
from safetext_sdk.validation.generate import PictureMaker


def test_a_first_look_is_what_the_validation_draws_first(
    run: Callable[..., Report],
    original: Any,
    hardened: Any,
    policy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, images = tmp_path / "look.png", tmp_path / "report" / "images"
    look = FirstLook(original, policy, file, settings=FAST)
    assert look.before() == file
    with Image.open(file) as before:
        assert not images.exists()
        left = before.copy()
    assert look.after(hardened, images) == file
    with Image.open(file) as both:
        assert both.height == left.height
        assert both.width > 2 * left.width
        assert both.crop((0, 0, left.width, left.height)).tobytes() == left.tobytes()
    looked_at = {path.name for path in images.iterdir()}
    assert len(looked_at) == 2 * 2 * SHOWN
    drawn: list[str] = []
    draw = PictureMaker.draw

    def watch(self: PictureMaker, requests: Any) -> Any:
        drawn.extend(self.path(request).name for request in requests)
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", watch)
    report = run(n=3)
    assert drawn
    assert not looked_at & set(drawn)
    assert looked_at < {Path(row.image).name for row in report.rows}
