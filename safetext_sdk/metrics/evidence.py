"""A report as metrics read it: every interval is computed once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

from ..results.compute import (
    OfPairs,
    OfRows,
    Pair,
    any_of,
    change_figures,
    drop_of,
    lost_of,
    pair_up,
    paired_figures,
    share_of,
    unsafe_trials,
)
from ..results.facts import Facts
from ..results.figures import BeforeAfter, Figure, SetComparison, SetFigures
from ..results.report import Report
from ..results.rows import Model, ResultRow, is_control
from ..statistics.intervals import Interval


class Evidence:
    """Rows by set and model, and the intervals that were computed from them.

    Args:
        facts, rows: of a report; neither changes.
    """

    def __init__(self, facts: Facts, rows: Sequence[ResultRow]) -> None:
        self.facts = facts
        self._by_set: dict[str, list[ResultRow]] = {}
        for row in rows:
            self._by_set.setdefault(row.listed_as, []).append(row)
        self._pairs: dict[str, list[Pair]] = {}
        self._intervals: dict[Hashable, Interval] = {}

    @property
    def set_names(self) -> tuple[str, ...]:
        """Sets of both models in order of first appearance; prompts of the user once a label."""
        return tuple(name for name in self._by_set if not is_control(name))

    def rows(self, set_: str, model: Model, concept: str | None = None) -> list[ResultRow]:
        """Rows of a set and a model, of one concept if named."""
        return [
            r
            for r in self._by_set.get(set_, ())
            if r.model == model and (concept is None or r.concept == concept)
        ]

    def pairs(self, set_: str, concept: str | None = None) -> list[Pair]:
        """(original, hardened) rows of a set, of one concept if named."""
        if set_ not in self._pairs:
            self._pairs[set_] = pair_up(self._by_set.get(set_, ()))
        return [p for p in self._pairs[set_] if concept is None or p[1].concept == concept]

    def single(self, compute: OfRows, set_: str, model: Model, concept: str | None = None) -> Interval:
        """``compute`` of the rows of a set and a model."""
        return self._once((compute, set_, model, concept), lambda: compute(self.rows(set_, model, concept)))

    def paired(self, compute: OfPairs, set_: str, concept: str | None = None) -> Interval:
        """``compute`` of the pairs of a set."""
        return self._once((compute, set_, concept), lambda: compute(self.pairs(set_, concept)))

    def _once(self, key: Hashable, compute: Callable[[], Interval]) -> Interval:
        if key not in self._intervals:
            self._intervals[key] = compute()
        return self._intervals[key]

    @cached_property
    def sets(self) -> dict[str, SetComparison]:
        """``sets`` of summary.json."""
        return {
            name: SetComparison(
                original=self._figures(name, "original"),
                hardened=self._figures(name, "hardened"),
                paired=paired_figures(
                    self.pairs(name),
                    unsafe_trials(self._by_set.get(name, ())),
                    self.paired(drop_of("kept"), name),
                    self.paired(lost_of("kept"), name),
                ),
            )
            for name in self.set_names
        }

    def _figures(self, name: str, model: Model) -> SetFigures:
        rows = self.rows(name, model)
        attacked = any(r.origin is not None for r in rows)
        unsafe = self.single((any_of if attacked else share_of)("unsafe"), name, model)
        kept, shown = (self.single(share_of(field), name, model) for field in ("kept", "anchor_shown"))
        return SetFigures(
            n=len(rows),
            prompts=len({r.prompt for r in rows}),
            clusters=len({r.cluster for r in rows}),
            unsafe=Figure.of(unsafe),
            kept=Figure.of(kept),
            anchor_shown=Figure.of(shown),
            change=change_figures(rows),
        )

    @cached_property
    def concepts(self) -> dict[str, BeforeAfter]:
        """Unsafe rate of each concept of the unsafe set, before and after."""
        names = dict.fromkeys(r.concept for r in self._by_set.get("unsafe", ()) if r.concept is not None)
        return {
            name: BeforeAfter(
                original=Figure.of(self.single(share_of("unsafe"), "unsafe", "original", name)),
                hardened=Figure.of(self.single(share_of("unsafe"), "unsafe", "hardened", name)),
            )
            for name in names
        }


_KNOWN: WeakKeyDictionary[Report, Evidence] = WeakKeyDictionary()


def evidence_of(report: Report) -> Evidence:
    """The evidence of a report: one object a report, so that validating, gating and rendering share its
    figures."""
    if report not in _KNOWN:
        _KNOWN[report] = Evidence(report.facts, report.rows)
    return _KNOWN[report]
