"""How a metric is taken from a report; the same for built-in and third-party ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from ..results.compute import OfPairs, OfRows
from ..results.facts import Facts
from ..results.figures import Figure
from ..statistics.design_effect import DEFAULT
from ..statistics.intervals import Interval
from .base import Measurement, Metric
from .evidence import Evidence

OLD_BOUNDS = "its bounds allow for less correlation between prompts than a gate does; validate again"


def measure(
    metric: Metric, evidence: Evidence, concept: str | None = None, threshold: float | None = None
) -> Measurement:
    """One metric on one report.

    Args:
        concept: count only rows of this concept.
        threshold: what a gate asks for, where one asks: some metrics have sets that decide only then.

    A third-party metric that raises is recorded as not measured: nothing passes on it, and the other figures
    stand.
    """
    facts = evidence.facts
    if metric.pictures is not None:
        return _of_pictures(metric, facts)
    if metric.whole is not None:
        return _guarded(partial(metric.whole, evidence, concept))
    if metric.encoder is not None and (metric.compute is None or facts.tier == "encoder"):
        figure = metric.encoder(facts.encoder_tier)
        if figure is None or figure.n == 0:
            return Measurement(missing=metric.absent or "the encoder tier has no such figure")
        return Measurement(figure.interval()) if _covers(figure) else Measurement(missing=OLD_BOUNDS)
    if metric.compute is None:
        return Measurement(missing="it reads neither rows nor pictures nor the encoder tier")
    return _guarded(partial(_of_rows, metric, evidence, concept, threshold))


def _guarded(take: Callable[[], Measurement]) -> Measurement:
    try:
        return take()
    except Exception as error:
        return Measurement(missing=f"the metric failed: {type(error).__name__}: {error}")


def _of_pictures(metric: Metric, facts: Facts) -> Measurement:
    """What a validation took and wrote down; no picture is looked at again."""
    entry = next((each for each in facts.measures if each.name == metric.name), None)
    if entry is None:
        return Measurement(missing=f"nobody asked for it; validate again with --metric {metric.name}")
    if entry.figure is None or entry.figure.n == 0:
        return Measurement(missing=entry.not_measured or metric.absent or "it found nothing to measure")
    if not _covers(entry.figure):
        return Measurement(missing=OLD_BOUNDS)
    return Measurement(entry.figure.interval(), entry.original, set=entry.set, notes=entry.notes)


def _covers(figure: Figure) -> bool:
    """Whether bounds that were written down, and cannot be computed again, are as careful as today's."""
    worth = figure.worth
    return worth is not None and worth.assumed_correlation >= DEFAULT.assumed_correlation


def _of_rows(metric: Metric, evidence: Evidence, concept: str | None, threshold: float | None) -> Measurement:
    found: list[tuple[str, Interval]] = []
    for name in metric.sets_of(evidence.facts):
        interval = _hardened(metric, evidence, name, concept)
        if not evidence.rows(name, "hardened", concept):
            return Measurement(missing=f"the set {name} is empty")
        if interval.n == 0:
            return Measurement(missing=metric.absent or f"no row of the set {name} has a value")
        found.append((name, interval))
    if not found:
        return Measurement(missing=metric.absent or "it reads no set of this report")
    if metric.deciding is not None and threshold is not None:
        decide = set(metric.deciding(evidence, threshold, concept))
        found = [each for each in found if each[0] in decide]
    worst, interval = max(found, key=lambda each: _badness(metric, each[1]))
    original = None
    if not metric.paired:
        before = evidence.single(cast(OfRows, metric.compute), worst, "original", concept)
        original = before.value if before.n else None
    return Measurement(interval, original, set=worst)


def _hardened(metric: Metric, evidence: Evidence, name: str, concept: str | None) -> Interval:
    if metric.paired:
        return evidence.paired(cast(OfPairs, metric.compute), name, concept)
    return evidence.single(cast(OfRows, metric.compute), name, "hardened", concept)


def _badness(metric: Metric, interval: Interval) -> tuple[float, float]:
    if metric.better == "lower":
        return interval.upper, interval.value
    return -interval.lower, -interval.value
