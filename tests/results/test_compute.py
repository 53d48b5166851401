"""Rows to intervals: what counts, what is paired with what, and which question is the same."""

from __future__ import annotations

import pytest
from support.gate_case import first, no_longer_kept, number, passing, row, with_rows

from safetext_sdk.results.compute import (
    any_of,
    change_figures,
    drop_of,
    lost_of,
    pair_up,
    paired_figures,
    select,
    share_before,
    share_of,
    unsafe_trials,
)
from safetext_sdk.results.figures import Figure
from safetext_sdk.results.rows import PictureChange
from safetext_sdk.statistics.intervals import Interval
from safetext_sdk.statistics.rates import rate_bounds


def test_rows_without_an_answer_do_not_count() -> None:
    rows = [row("hardened", "safe", k, kept=[True, False, None][k % 3]) for k in range(90)]
    found = share_of("kept")(rows)
    assert (found.n, found.value) == (60, 0.5)
    known = [r for r in rows if r.kept is not None]
    assert found == rate_bounds(
        [bool(r.kept) for r in known], [r.prompt for r in known], [r.cluster for r in known]
    )


def test_texts_of_one_origin_are_one_outcome_for_each_seed() -> None:
    plain = [row("hardened", "unsafe", k, unsafe=k % 4 == 0) for k in range(40)]
    assert any_of("unsafe")(plain) == share_of("unsafe")(plain)
    texts = [
        row(
            "hardened",
            "context",
            4 * k + seed * 2 + t,
            unsafe=(k, seed, t) == (0, 1, 1),
            origin=f"p{k}",
            seed=seed,
        )
        for k in range(10)
        for seed in (0, 1)
        for t in (0, 1)
    ]
    for order in (texts, texts[::-1]):
        found = any_of("unsafe")(order)
        assert (found.n, found.value) == (20, pytest.approx(1 / 20))


def test_pairs_are_the_same_question() -> None:
    report = passing(10)
    pairs = pair_up(select(report.rows, "unsafe"))
    assert len(pairs) == 10
    assert all(a.question == b.question and (a.model, b.model) == ("original", "hardened") for a, b in pairs)
    for change in ({"seed": 7}, {"negative_prompt": "gun"}, {"anchor": "elsewhere"}, {"prompt": "other"}):
        moved = with_rows(
            report, lambda r, c=change: c if number(r) == 0 else {}, set_="unsafe", model="hardened"
        )
        assert len(pair_up(select(moved.rows, "unsafe"))) == 9, change


def test_drop_and_loss_on_known_counts() -> None:
    """Of 40 pairs: 5 lost, 3 won, 2 kept by neither, 30 kept by both."""
    before = [k >= 5 for k in range(40)]
    pairs = pair_up(
        [row("original", "safe", k, kept=before[k]) for k in range(40)]
        + [row("hardened", "safe", k, kept=k < 3 or 5 <= k < 35) for k in range(40)]
    )
    assert drop_of("kept")(pairs).value == pytest.approx((5 - 3) / 40)
    lost = lost_of("kept")(pairs)
    assert (lost.n, lost.value) == (35, pytest.approx(5 / 35))
    assert share_before("kept")(pairs).value == pytest.approx(35 / 40)
    unsafe = unsafe_trials(row for pair in pairs for row in pair)
    figures = paired_figures(pairs, unsafe, drop_of("kept")(pairs), lost)
    assert (figures.kept_before_only, figures.kept_after_only, figures.pairs) == (5, 3, 40)
    assert figures.kept_mcnemar_p == pytest.approx(0.7265625)  # two-sided binomial, 5 of 8


def test_pairs_with_one_unknown_side_do_not_count() -> None:
    report = with_rows(passing(20), first(5, lambda _: {"kept": None}), set_="safe", model="hardened")
    pairs = pair_up(select(report.rows, "safe"))
    assert drop_of("kept")(pairs).n == lost_of("kept")(pairs).n == 15
    assert lost_of("kept")(pair_up(select(with_rows(report, no_longer_kept).rows, "safe"))).n == 0


def test_select() -> None:
    rows = passing(4).rows
    assert len(select(rows, "unsafe", "hardened")) == 4
    assert len(select(rows, label="borderline")) == len(select(rows, concept="weapon")) == 8
    assert select(rows) == list(rows)


def test_change_figures() -> None:
    rows = [
        row("hardened", "safe", k, change=PictureChange(mean_abs=x, ssim=1 - x))
        for k, x in enumerate((0.0, 0.1, 0.5))
    ]
    found = change_figures(rows)
    assert found is not None
    assert (found.n, found.mean_abs.mean, found.mean_abs.median, found.ssim.median) == (3, 0.2, 0.1, 0.9)
    assert change_figures([row("hardened", "safe", 0)]) is None


def test_figures_are_written_without_infinities_and_come_back() -> None:
    nothing = Figure.of(Interval(float("nan"), float("-inf"), float("inf"), 0))
    assert (nothing.value, nothing.lower, nothing.upper) == (None, None, None)
    assert nothing.interval().n == 0
    assert nothing.interval().upper == float("inf")
    assert Figure.of(Interval(1 / 3, 0.1, 0.9, 30)).value == 0.33333
