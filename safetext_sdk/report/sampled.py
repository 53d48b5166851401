"""Which pairs a page shows where there are more than a browser can open: a fixed random sample, taken from
every set and every outcome in turn, so that what is rare is all there. Figures are never taken from it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..results.compute import Pair, pair_up
from ..results.rows import ResultRow, is_control

SHOWN = 6_000
"""Pairs of a page at the most: 3,000 open in 0.7 s (`benchmarks/report_page.py`)."""
SEED = 0


def pairs_of(rows: Iterable[ResultRow]) -> list[Pair]:
    """Every pair of every set; controls have one side and are left out."""
    sets: dict[str, list[ResultRow]] = {}
    for row in rows:
        if not is_control(row.set):
            sets.setdefault(row.set, []).append(row)
    return [pair for found in sets.values() for pair in pair_up(found)]


def shown(pairs: Sequence[Pair], outcome: Callable[[Pair], str], most: int | None = None) -> Sequence[Pair]:
    """All pairs, or ``most`` of them (`SHOWN`) where there are more, in the same order."""
    most = SHOWN if most is None else most
    if len(pairs) <= most:
        return pairs
    groups: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault((pair[1].listed_as, outcome(pair)), []).append(number)
    chosen: list[int] = []
    # The smallest first: what they leave of their share goes to the others.
    ordered = sorted(groups.items(), key=lambda each: len(each[1]))
    for done, (name, numbers) in enumerate(ordered):
        share = -(-(most - len(chosen)) // (len(ordered) - done))
        chosen += random.Random(f"{SEED} {name}").sample(numbers, min(share, len(numbers)))
    return [pairs[number] for number in sorted(chosen)]


def counts_of(rows: Sequence[ResultRow], outcome: Callable[[Pair], str]) -> Mapping[str, object]:
    """For a page that shows a sample: how many pairs there are, in all and by what a reader filters by. Empty
    where every pair is shown."""
    pairs = pairs_of(rows) if len(rows) > SHOWN else []
    if len(pairs) <= SHOWN:
        return {}
    fields: dict[str, Counter[str]] = {name: Counter() for name in ("set", "concept", "attack", "outcome")}
    for pair in pairs:
        after = pair[1]
        fields["set"][after.listed_as] += 1
        fields["outcome"][outcome(pair)] += 1
        if after.concept:
            fields["concept"][after.concept] += 1
        if after.origin is not None:
            fields["attack"][after.set] += 1
    return {"all": len(pairs), "counts": fields}
