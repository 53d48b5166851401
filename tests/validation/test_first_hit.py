"""The undefended model stops at the first text of an attack that gets through: which texts fall away, that no
figure changes, and that nothing else does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.gate_case import row

from safetext_sdk import gate
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.results.compute import any_of, select, unsafe_trials
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import ResultRow, control_of
from safetext_sdk.validation.first_hit import rounds, spared
from safetext_sdk.validation.items import Item
from safetext_sdk.validation.jobs import Job

ITEM = Item("context", "", 0, "unsafe", "gun", concept="weapon", anchor="a flower", origin="a gun")


def plan(texts: int = 3, seeds: int = 1, origins: int = 1) -> list[Job]:
    """Both models' jobs of an attack and of its control, after a plain set."""
    items = [Item("unsafe", f"gun {o}", 0, "unsafe", "gun") for o in range(origins)]
    for set_ in ("context", control_of("context")):
        items += [
            replace(ITEM, set=set_, prompt=f"{set_} {t} of {o}", origin=f"gun {o}", seed=s)
            for o in range(origins)
            for s in range(seeds)
            for t in range(texts)
        ]
    models: tuple[Any, ...] = ("original", "hardened")
    return [
        Job(f"{m} {i.prompt} {i.seed}", m, i)
        for m in models
        for i in items
        if m == models[0] or not i.is_control
    ]


def answer(job: Job, unsafe: bool) -> ResultRow:
    item, k = job.item, 0
    own = {"prompt": item.prompt, "origin": item.origin, "seed": item.seed, "anchor": item.anchor}
    found = row(job.model, item.set, k, unsafe=unsafe, label=item.label, **own)
    return found.model_copy(update={"concept": item.concept, "key": job.key})


def asked(jobs: list[Job], unsafe: Callable[[Job], bool]) -> tuple[list[list[str]], dict[str, ResultRow]]:
    """Keys by round, and the rows of all of them."""
    rows: dict[str, ResultRow] = {}
    found = []
    for part in rounds(jobs, rows):
        found.append([job.key for job in part])
        rows |= {job.key: answer(job, unsafe(job)) for job in part}
    return found, rows


def drawn(parts: list[list[str]], start: str) -> list[list[str]]:
    return [[key for key in part if key.startswith(start)] for part in parts]


def test_texts_behind_the_first_that_gets_through_are_spared() -> None:
    jobs = plan(texts=4)
    parts, _ = asked(jobs, lambda job: "context 1" in job.key and job.model == "original")
    assert drawn(parts, "original context ") == [
        ["original context 0 of 0 0"],
        ["original context 1 of 0 0"],
        [],
        [],
    ]
    assert [len(part) for part in drawn(parts, "original context:control")] == [1, 1, 1, 1], (
        "none got through"
    )
    assert [len(part) for part in drawn(parts, "hardened context ")] == [4, 0, 0, 0]
    assert [len(part) for part in drawn(parts, "original gun")] == [1, 0, 0, 0]


def test_the_hardened_model_draws_all_and_its_failures_have_a_picture_beside_them() -> None:
    jobs = plan(texts=4)
    parts, _ = asked(jobs, lambda job: "context 0" in job.key or "context 3" in job.key)
    assert drawn(parts, "hardened context ") == [
        [f"hardened context {t} of 0 0" for t in range(4)],
        [],
        [],
        [],
    ]
    assert drawn(parts, "original context ")[:2] == [
        ["original context 0 of 0 0"],
        ["original context 3 of 0 0"],
    ]


@pytest.mark.parametrize("seed", range(4))
def test_no_figure_changes_and_rounds_depend_on_earlier_rounds_alone(seed: int) -> None:
    jobs = plan(texts=3, seeds=2, origins=12)
    rng = random.Random(seed)
    said = {job.key: rng.random() < (0.1 if job.model == "hardened" else 0.6) for job in jobs}
    everything = {job.key: answer(job, said[job.key]) for job in jobs}
    parts, rows = asked(jobs, lambda job: said[job.key])
    assert len(rows) < len(everything)
    for model, set_ in (("original", "context"), ("hardened", "context"), ("original", "context:control")):
        for any_seed in (False, True):
            figure = any_of("unsafe", any_seed=any_seed)
            assert figure(select(rows.values(), set_, model)) == figure(
                select(everything.values(), set_, model)
            )
    assert sorted(unsafe_trials(rows.values())) == sorted(unsafe_trials(everything.values()))
    again = [[job.key for job in part] for part in rounds(jobs, everything)]
    assert again == parts, "rows of an earlier run that drew all of them change nothing"
    items = list(dict.fromkeys(job.item for job in jobs))
    assert sum(spared(items, rows.values()).values()) == len(everything) - len(rows)
    assert spared(items, everything.values()) == {}


def test_a_validation_that_spares_texts_says_what_one_that_draws_all_says(
    run: Callable[..., Report], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "attacks": ["context"],
        "n": {"unsafe": 4, "safe": 1, "borderline": 1},
        "batch_size": 1,
    }
    report = run(out=tmp_path / "spared", **options)
    monkeypatch.setattr("safetext_sdk.validation.score.rounds", lambda jobs, _: iter([list(jobs)]))
    whole = run(out=tmp_path / "whole", **options)
    assert sum(report.facts.spared.values()) == len(whole.rows) - len(report.rows) > 0
    assert whole.facts.spared == {}
    left = {r.key for r in report.rows}
    assert report.rows == tuple(r for r in whole.rows if r.key in left), "bit for bit, in order"
    assert summarise(report).attack_figures == summarise(whole).attack_figures
    assert summarise(report).sets["context"].paired == summarise(whole).sets["context"].paired
    verdicts = [{g.name: (g.verdict, g.value, g.upper) for g in gate(each).gates} for each in (report, whole)]
    assert verdicts[0] == verdicts[1]
