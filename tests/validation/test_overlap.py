"""Pictures drawn while others are scored, and pictures of the original shared by runs: the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.validation_case import PixelDetector

from safetext_sdk.errors import DetectorError, InterruptedRun
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import read_rows
from safetext_sdk.validation.generate import PictureMaker
from safetext_sdk.validation.score import Scoring

Run = Callable[..., Report]


@pytest.fixture
def overlapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, in small parts."""
    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 2)
    monkeypatch.setattr(Scoring, "_overlaps", True)


def test_rows_are_those_of_drawing_and_scoring_by_turns(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 2)
    by_turns = run(out=tmp_path / "turns", batch_size=1)
    monkeypatch.setattr(Scoring, "_overlaps", True)
    side_by_side = run(out=tmp_path / "side", batch_size=1)
    assert side_by_side.rows == by_turns.rows
    pictures = sorted(path.name for path in (tmp_path / "turns" / "images").iterdir())
    assert pictures
    for name in pictures:
        a, b = (tmp_path / folder / "images" / name for folder in ("turns", "side"))
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.usefixtures("overlapped")
def test_what_was_scored_before_a_stop_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, made = PictureMaker.draw, [0]

    def dies(self: PictureMaker, requests: Any) -> Any:
        made[0] += 1
        if made[0] == 9:
            raise KeyboardInterrupt
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", dies)
    with pytest.raises(InterruptedRun):
        run(batch_size=1)
    before = read_rows(tmp_path / "report" / "results.partial.jsonl")
    assert len(before) >= 4
    monkeypatch.setattr(PictureMaker, "draw", draw)
    after = run(batch_size=1).rows
    assert {row.key: row for row in before}.items() <= {row.key: row for row in after}.items()


@pytest.mark.usefixtures("overlapped")
def test_a_detector_that_fails_in_its_thread_stops_the_run(
    run: Run, detectors: list[PixelDetector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelDetector, "score", lambda self, images: [])
    with pytest.raises(DetectorError, match="returned 0 rows"):
        run(batch_size=1)


def test_the_undefended_models_pictures_are_drawn_once_for_all_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    draw = PictureMaker.draw

    def counts(self: PictureMaker, requests: Any) -> Any:
        drawn.extend((self.model, request) for request in requests)
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", counts)
    first = run(out=tmp_path / "one", cache=tmp_path / "cache")
    models = {id(model) for model, _ in drawn}
    assert len(models) == 2
    drawn.clear()
    second = run(out=tmp_path / "two", cache=tmp_path / "cache")
    assert len({id(model) for model, _ in drawn}) == 1
    assert second.rows == first.rows
    originals = {row.image for row in first.rows if row.model == "original"}
    cached = {path.name for path in (tmp_path / "cache").rglob("*.png")}
    assert cached == {Path(image).name for image in originals}
