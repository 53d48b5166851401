"""Rows to intervals: pure functions, so that a verdict can be taken again from the file alone.

A share carries exact bounds on an effective sample size; differences between original and hardened are
taken on the same prompt, negative prompt and seed (see ``statistics``). One entry a picture goes in, with its
prompt and its cluster: seeds of a prompt are made one trial there, not here. The functions that compute one
interval come from factories (``share_of("unsafe")``) that return the same function for the same field: a
caller can recognise an interval that it already has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from ..statistics.intervals import Interval
from ..statistics.paired import drop_bounds, mcnemar_exact
from ..statistics.rates import rate_bounds
from .figures import ChangeFigures, Figure, PairedFigures, Spread
from .rows import ResultRow, Trial

Pair = tuple[ResultRow, ResultRow]
"""(original, hardened) on the same question."""
OfRows = Callable[[Sequence[ResultRow]], Interval]
OfPairs = Callable[[Sequence[Pair]], Interval]


def select(
    rows: Iterable[ResultRow],
    set_: str | None = None,
    model: str | None = None,
    label: str | None = None,
    concept: str | None = None,
) -> list[ResultRow]:
    """Rows of a set, a model, a label, a concept; None means any."""
    return [
        r
        for r in rows
        if (set_ is None or r.set == set_)
        and (model is None or r.model == model)
        and (label is None or r.label == label)
        and (concept is None or r.concept == concept)
    ]


def pair_up(rows: Iterable[ResultRow]) -> list[Pair]:
    """Original and hardened row of every question that both models answered, in the order of the hardened
    rows."""
    rows = list(rows)
    before = {r.question: r for r in rows if r.model == "original"}
    return [(before[r.question], r) for r in rows if r.model == "hardened" and r.question in before]


@cache
def share_of(field: str) -> OfRows:
    """Share of rows where a yes/no field is true; rows where it is null do not count."""

    def share(rows: Sequence[ResultRow]) -> Interval:
        known = [r for r in rows if getattr(r, field) is not None]
        return rate_bounds(
            [bool(getattr(r, field)) for r in known], [r.prompt for r in known], [r.cluster for r in known]
        )

    return share


@cache
def any_of(field: str, *, any_seed: bool = False) -> OfRows:
    """Share of attacked prompts of which some text makes a yes/no field true.

    An attack may return several texts for one prompt (random contexts, for instance), and the attacker needs
    one that gets through: texts of one origin at one seed are one outcome, not several. Rows without an
    origin are outcomes of their own, as in `share_of`.

    Args:
        any_seed: one picture seed that gets through is enough as well; else seeds of a prompt are one trial
            whose outcome is their mean.
    """

    def share(rows: Sequence[ResultRow]) -> Interval:
        found: dict[tuple[object, ...], tuple[ResultRow, bool]] = {}
        for row in rows:
            value = getattr(row, field)
            if value is not None:
                # What an attacker may choose, texts and negative prompts, keeps nothing apart.
                given = "" if row.origin is not None else row.negative_prompt
                seed = None if any_seed else row.seed
                key = (row.origin or row.prompt, given, seed, row.anchor, row.concept)
                found[key] = (row, value or (key in found and found[key][1]))
        return rate_bounds(
            [bool(value) for _, value in found.values()],
            [row.origin or row.prompt for row, _ in found.values()],
            [row.cluster for row, _ in found.values()],
        )

    return share


@cache
def share_before(field: str) -> OfPairs:
    """Share of pairs where a yes/no field is true on the original."""

    def share(pairs: Sequence[Pair]) -> Interval:
        return share_of(field)([before for before, _ in pairs])

    return share


@cache
def drop_of(field: str) -> OfPairs:
    """Paired drop of the share of a yes/no field (original minus hardened); pairs with a null do not
    count."""

    def drop(pairs: Sequence[Pair]) -> Interval:
        known = [p for p in pairs if None not in (getattr(p[0], field), getattr(p[1], field))]
        return drop_bounds(
            [bool(getattr(a, field)) for a, _ in known],
            [bool(getattr(b, field)) for _, b in known],
            [a.prompt for a, _ in known],
            [a.cluster for a, _ in known],
        )

    return drop


@cache
def lost_of(field: str) -> OfPairs:
    """Of the pairs where a yes/no field is true on the original, the share where it no longer is."""

    def lost(pairs: Sequence[Pair]) -> Interval:
        had = [(a, b) for a, b in pairs if getattr(a, field) and getattr(b, field) is not None]
        return rate_bounds(
            [not getattr(b, field) for _, b in had], [a.prompt for a, _ in had], [a.cluster for a, _ in had]
        )

    return lost


def unsafe_trials(rows: Iterable[ResultRow]) -> list[tuple[bool, bool]]:
    """(original, hardened) of every trial of both models: whether any of its rows shows the concept. Texts of
    an attacked prompt are one trial."""
    rows = list(rows)
    found: tuple[dict[Trial, bool], dict[Trial, bool]] = ({}, {})
    for row in rows:
        trials = found[row.model == "hardened"]
        trials[row.trial] = trials.get(row.trial, False) or row.unsafe
    before, after = found
    return [(before[trial], unsafe) for trial, unsafe in after.items() if trial in before]


def paired_figures(
    pairs: Sequence[Pair], unsafe: Sequence[tuple[bool, bool]], drop: Interval, lost: Interval
) -> PairedFigures:
    """Discordant pairs and exact McNemar beside two intervals that the caller has.

    Args:
        unsafe: of `unsafe_trials`.
    """
    worse = sum(after and not before for before, after in unsafe)
    better = sum(before and not after for before, after in unsafe)
    before_only = sum(bool(a.kept) and b.kept is False for a, b in pairs)
    after_only = sum(a.kept is False and bool(b.kept) for a, b in pairs)
    return PairedFigures(
        pairs=len(unsafe),
        unsafe_before_only=better,
        unsafe_after_only=worse,
        unsafe_mcnemar_p=mcnemar_exact(worse, better),
        kept_before_only=before_only,
        kept_after_only=after_only,
        kept_mcnemar_p=mcnemar_exact(before_only, after_only),
        drop=Figure.of(drop),
        lost=Figure.of(lost),
    )


def change_figures(rows: Sequence[ResultRow]) -> ChangeFigures | None:
    """Mean and median distance to the original's pictures; None where no row has one."""
    changes = [r.change for r in rows if r.change is not None]
    if not changes:
        return None

    def spread(values: Sequence[float]) -> Spread:
        return Spread(mean=round(float(np.mean(values)), 5), median=round(float(np.median(values)), 5))

    return ChangeFigures(
        mean_abs=spread([c.mean_abs for c in changes]),
        ssim=spread([c.ssim for c in changes]),
        n=len(changes),
    )
