"""A page of more pairs than a browser opens: a fixed sample that has everything rare, and counts of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gate_case import attack_rows, becomes_unsafe, entry, first, passing, with_attacks, with_rows

from safetext_sdk.report import sampled
from safetext_sdk.report.pairs import outcome, page_data
from safetext_sdk.report.sampled import counts_of, pairs_of, shown
from safetext_sdk.results.report import Report


@pytest.fixture
def report() -> Report:
    """360 plain pairs, two of them newly unsafe, and 360 of an attack."""
    plain = with_rows(passing(120), first(2, becomes_unsafe), set_="safe", model="hardened")
    return with_attacks(plain, attack_rows("context", 1, 3, control=2), entry("context"))


def test_few_pairs_are_all_shown(report: Report, tmp_path: Path) -> None:
    pairs = pairs_of(report.rows)
    assert len(pairs) == 720
    assert shown(pairs, outcome) is pairs
    assert "all" not in page_data(report.rows, report.facts, tmp_path)


def test_of_many_a_fixed_sample_from_every_set_and_outcome(report: Report) -> None:
    pairs = pairs_of(report.rows)
    some = shown(pairs, outcome, most=60)
    assert len(some) == 60
    assert list(some) == list(shown(list(pairs), outcome, most=60))
    assert [p for p in pairs if p in some] == list(some), "in the order of the report"
    groups = {(p[1].set, outcome(p)) for p in pairs}
    assert {(p[1].set, outcome(p)) for p in some} == groups
    assert sum(outcome(p) == "newly unsafe" for p in some) == 2, "what is rare is all there"


def test_the_page_says_how_many_there_are(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled, "SHOWN", 50)
    data = page_data(report.rows, report.facts, tmp_path)
    assert (len(data["pairs"]), data["all"]) == (50, 720)
    assert data["counts"]["set"] == {"unsafe": 120, "safe": 120, "borderline": 120, "context": 360}
    assert data["counts"]["attack"] == {"context": 360}
    assert sum(data["counts"]["outcome"].values()) == 720
    assert counts_of(report.rows[:40], outcome) == {}
