"""A plan cut into shards: every picture once, whole batches, and rows and pictures of one process, bit for
bit, whoever takes which shard and however often it stops."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.validation_case import PixelDetector

from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import ResultRow
from safetext_sdk.validation.generate import PictureMaker
from safetext_sdk.validation.items import Item
from safetext_sdk.validation.jobs import Job
from safetext_sdk.validation.score import Scoring
from safetext_sdk.validation.shards import Shard, cut

Run = Callable[..., Report]


class Maker:
    """Where pictures lie, without drawing any."""

    def __init__(self, name: str, batch_size: int = 3) -> None:
        self.name, self.batch_size = name, batch_size

    def path(self, request: Any) -> Path:
        return Path(self.name, f"{request.prompt} {request.seed} {request.guidance}.png")


MAKERS = {"original": Maker("a"), "hardened": Maker("b")}


def job(model: Any, prompt: str, set_: str = "unsafe", guidance: float = 1.0) -> Job:
    return Job(f"{model} {prompt} {set_}", model, Item(set_, prompt, 0, "unsafe", "c", guidance=guidance))


def shards_of(jobs: list[Job], size: int = 4) -> list[Shard]:
    return cut(jobs, size, lambda j: MAKERS[j.model])  # type: ignore[arg-type, return-value]


def test_every_picture_is_drawn_once_and_every_job_is_in_one_shard() -> None:
    rng = random.Random(0)
    jobs = [
        job(model, f"p{rng.randrange(12)}", f"set{k}", rng.choice([1.0, 2.0]))
        for model in ("original", "hardened")
        for k in range(30)
    ]
    found = shards_of(jobs)
    assert [j for shard in found for j in shard.jobs] == jobs
    drawn = [(b.model, r) for shard in found for b in shard.batches for r in b.requests]
    assert len(drawn) == len(set(drawn)) == len({(j.model, j.request) for j in jobs})
    assert all(1 <= len(b.requests) <= 3 for shard in found for b in shard.batches)
    assert all(len({r.guidance for r in b.requests}) == 1 for shard in found for b in shard.batches)


def test_a_shard_needs_the_one_that_draws_what_it_shows_again() -> None:
    found = shards_of([job("original", p, f"s{k}") for k, p in enumerate("abcdaefg" + "hbef")])
    assert [shard.needs for shard in found] == [frozenset(), {0}, {0, 1}]
    assert [len(shard.batches) for shard in found] == [2, 1, 1]


def test_a_later_round_draws_nothing_of_an_earlier_one() -> None:
    first, second = (
        [job("original", p, s) for p in texts] for s, texts in (("plain", "abcd"), ("attack", "efag"))
    )
    (found,) = cut(second, 4, lambda j: MAKERS[j.model], earlier=first)  # type: ignore[arg-type, return-value]
    assert [r.prompt for batch in found.batches for r in batch.requests] == ["e", "f", "g"]
    assert found.needs == frozenset()


def taken(scoring: Scoring, items: Any, order: Callable[[list[Shard]], list[Shard]]) -> list[ResultRow]:
    """Rows of all shards, taken in another order as far as their needs allow."""
    jobs = scoring.jobs(items)
    scoring.draw(scoring.batches_ahead(jobs))
    waiting, done, rows = order(scoring.shards(jobs)), set[int](), dict[str, ResultRow]()
    while waiting:
        shard = next(s for s in waiting if s.needs <= done)
        waiting.remove(shard)
        rows |= {row.key: row for row in scoring.work(shard)}
        done.add(shard.number)
    return [rows[job.key] for job in jobs]


@pytest.fixture(params=["detectors tell kept", "judges tell kept"])
def kept(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With judges, pictures of another seed are drawn ahead and looked at by shards."""
    if judges := request.param == "judges tell kept":
        monkeypatch.setattr(PixelDetector, "expected", lambda *_: ())
    return judges


@pytest.fixture
def whole(
    run: Run, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Report, Scoring, Any]:
    """A report of one process, and what made it."""
    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 4)
    made: list[tuple[Scoring, Any]] = []
    real = Scoring.run

    def remember(self: Scoring, items: Any) -> tuple[ResultRow, ...]:
        made.append((self, items))
        return real(self, items)

    monkeypatch.setattr(Scoring, "run", remember)
    report = run(out=tmp_path / "whole", batch_size=2)
    assert (made[0][0].keeping is not None) == kept
    return report, *made[0]


def moved(scoring: Scoring, folder: Path) -> Scoring:
    """The same into another folder."""
    makers = {
        name: PictureMaker(m.model, folder / "images", settings=m.settings, batch_size=m.batch_size)
        for name, m in scoring.makers.items()
    }
    keeping = scoring.keeping and replace(scoring.keeping, maker=makers["original"])
    return Scoring(makers, scoring.detectors, folder, scoring.tell, keeping)


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


def test_shards_in_any_order_give_the_rows_and_pictures_of_one_process(
    whole: tuple[Report, Scoring, Any], tmp_path: Path
) -> None:
    report, scoring, items = whole
    assert len(scoring.shards(scoring.jobs(items))) > 3

    def shuffled(shards: list[Shard]) -> list[Shard]:
        return random.Random(1).sample(shards, len(shards))

    rows = taken(moved(scoring, tmp_path / "parts"), items, shuffled)
    assert tuple(rows) == report.rows
    assert pictures(tmp_path / "parts") == pictures(tmp_path / "whole")


def test_a_stopped_run_draws_whole_batches_again_and_keeps_what_is_there(
    whole: tuple[Report, Scoring, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, scoring, items = whole
    names = sorted(path.name for path in (tmp_path / "whole" / "images").iterdir())
    gone = names[::3]
    for name in gone:
        (tmp_path / "whole" / "images" / name).unlink()
    sizes: list[int] = []
    draw = PictureMaker.draw

    def count(self: PictureMaker, requests: Any) -> Any:
        sizes.append(len(requests))
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", count)
    rows = taken(scoring, items, list)
    assert tuple(rows) == report.rows
    assert max(sizes) == 2
    assert sum(sizes) > len(gone) > 0
