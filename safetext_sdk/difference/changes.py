"""From A to B: how far every figure moved, and whether that is beyond noise.

On the same prompts and seeds the bounds are those of `statistics.paired_bounds`, at 97.5 % each, so that
both together are a 95 % interval; McNemar's p-value stands beside them, and does not know that prompts of one
synonym go together. A figure that no rows tell (of the encoder tier, of a metric that is no
share) has no pairs: it moved only where the 95 % bounds of both reports do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..metrics import METRICS
from ..metrics.base import Metric
from ..metrics.evidence import evidence_of
from ..metrics.measure import measure
from ..results.compute import any_of, drop_of, lost_of, share_of
from ..results.report import Report
from ..results.summary import GateResult, LeftOutGate, Summary
from ..statistics.design_effect import Settings
from ..statistics.paired import mcnemar_exact, paired_bounds
from .entries import CONFIDENCE, Change, Direction, GateChange, GateSide, SetChange
from .units import Unit, What

SETTINGS: Final = Settings(confidence=1 - (1 - CONFIDENCE) / 2)
QUESTIONS: Final[tuple[What, ...]] = ("unsafe", "kept", "anchor_shown")
BAD: Final = {"unsafe": True, "kept": False, "anchor_shown": False}
"""The answer that nobody wants."""
DIGITS = 5


def set_changes(units: Sequence[Unit]) -> list[SetChange]:
    """Every question about every set that has an answer in both reports."""
    out = []
    for name in dict.fromkeys(unit.set for unit in units):
        for what in QUESTIONS:
            mine = [unit for unit in units if unit.set == name and None not in unit.values(what)]
            if mine:
                a, b = (sum(bool(u.values(what)[k]) for u in mine) / len(mine) for k in (0, 1))
                found = paired_change(mine, what)
                out.append(
                    SetChange(set=name, what=what, a=round(a, DIGITS), b=round(b, DIGITS), change=found)
                )
    return out


def paired_change(units: Sequence[Unit], what: What, *, share_of_bad: bool | None = None) -> Change:
    """The change of a share on questions that both reports answered.

    Args:
        units: all of them have both answers.
        share_of_bad: whether the share is that of the unwanted answer; None: as the question asks it.
    """
    bad = BAD[what]
    answers = [unit.values(what) for unit in units]
    worse = [x is not bad and y is bad for x, y in answers]
    better = [x is bad and y is not bad for x, y in answers]
    found = paired_bounds(worse, better, [u.prompt for u in units], [u.cluster for u in units], SETTINGS)
    direction: Direction = "worse" if found.lower > 0 else "better" if found.upper < 0 else "noise"
    ends = (found.value, found.lower, found.upper)
    if not (bad if share_of_bad is None else share_of_bad):
        ends = (-found.value, -found.upper, -found.lower)
    value, lower, upper = (round(x, DIGITS) + 0.0 for x in ends)  # no negative nought
    return Change(
        paired=True,
        direction=direction if units else "unknown",
        value=value if units else None,
        lower=lower if units else None,
        upper=upper if units else None,
        pairs=len(units),
        became_better=sum(better),
        became_worse=sum(worse),
        mcnemar_p=round(mcnemar_exact(sum(worse), sum(better)), DIGITS),
    )


def gate_changes(
    reports: tuple[Report, Report], summaries: tuple[Summary, Summary], units: Sequence[Unit]
) -> list[GateChange]:
    """Every gate of either report, in A's order."""
    a, b = (_gates(summary) for summary in summaries)
    out = []
    for name in dict.fromkeys((*a, *b)):
        sides = (a.get(name), b.get(name))
        known = next(gate for gate in sides if gate is not None)
        metric_name = known.metric if isinstance(known, GateResult) else name.rpartition(".")[2]
        metric = METRICS.get(metric_name) if metric_name in METRICS.names() else None
        shown = tuple(
            None if gate is None else _side(gate, metric, report)
            for gate, report in zip(sides, reports, strict=True)
        )
        first, second = shown
        change = None
        if metric is not None and first is not None and second is not None:
            change = _gate_change(metric, _concept(name, metric), (first, second), units)
        out.append(
            GateChange(
                name=name, metric=metric_name if metric else None, side=known.side, a=first, b=second,
                change=change,
            )
        )  # fmt: skip
    return out


def _gates(summary: Summary) -> dict[str, GateResult | LeftOutGate]:
    found: list[GateResult | LeftOutGate] = [*(summary.gates or ()), *summary.left_out]
    return {gate.name: gate for gate in found}


def _concept(gate: str, metric: Metric) -> str | None:
    return gate.removesuffix(f".{metric.name}") if gate != metric.name else None


def _side(gate: GateResult | LeftOutGate, metric: Metric | None, report: Report) -> GateSide:
    if isinstance(gate, LeftOutGate):
        return GateSide(verdict="left out", threshold=gate.threshold)
    set_ = ""
    if metric is not None and metric.compute is not None and gate.n and report.facts.tier == "images":
        found = measure(metric, evidence_of(report), _concept(gate.name, metric), gate.threshold)
        set_ = found.set
    return GateSide(
        verdict=gate.verdict, value=gate.value, lower=gate.lower, upper=gate.upper, n=gate.n,
        threshold=gate.threshold, set=set_,
    )  # fmt: skip


def _gate_change(
    metric: Metric, concept: str | None, sides: tuple[GateSide, GateSide], units: Iterable[Unit]
) -> Change:
    a, b = sides
    asked = _question(metric)
    if asked is not None and a.set and a.set == b.set:
        what, only_kept_before = asked
        mine = [
            unit
            for unit in units
            if unit.set == a.set
            and concept in (None, unit.b.concept)
            and None not in unit.values(what)
            and (not only_kept_before or all(unit.was))
        ]
        if mine:
            change = paired_change(mine, what, share_of_bad=metric.better == "lower")
            of = f"of {a.set}" if callable(metric.sets) else ""
            return change.model_copy(update={"note": of})
        note = "no prompt and seed in common"
    elif asked is not None and a.set and b.set:
        note = f"not paired: the worst set is {a.set} in A and {b.set} in B"
    else:
        note = "not paired: no row tells its outcomes"
    return _unpaired(metric, a, b, note)


def _question(metric: Metric) -> tuple[What, bool] | None:
    """The yes/no question that a metric counts, and whether it does so only where the undefended picture kept
    what its prompt names; None for metrics that count no such thing."""
    for what in QUESTIONS:
        if metric.compute in (share_of(what), any_of(what), drop_of(what)):
            return what, False
        if metric.compute is lost_of(what):
            return what, True
    return None


def _unpaired(metric: Metric, a: GateSide, b: GateSide, note: str) -> Change:
    ends = (a.lower, a.upper, b.lower, b.upper)
    if a.value is None or b.value is None or None in ends:
        return Change(paired=False, direction="unknown", note="not measured in both")
    assert a.lower is not None and a.upper is not None and b.lower is not None and b.upper is not None  # noqa: PT018
    direction: Direction = "noise"
    if b.lower > a.upper or b.upper < a.lower:
        direction = "worse" if (b.value > a.value) == (metric.better == "lower") else "better"
    return Change(paired=False, direction=direction, value=round(b.value - a.value, DIGITS) + 0.0, note=note)
