"""summary.json from a report: the sets, every registered metric, and what the gates said."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..results.figures import Figure, MetricFigure
from ..results.judge_profile import judged_by
from ..results.report import Report, rows_sha256
from ..results.summary import Decision, GateResult, LeftOutGate, Summary, VerdictWord
from . import every_metric
from .attack_figures import attack_figures
from .base import Measurement, Metric
from .correction import corrected
from .evidence import evidence_of
from .measure import measure


def summarise(
    report: Report,
    gates: Sequence[GateResult] | None = None,
    verdict: VerdictWord | None = None,
    decision: Decision | None = None,
    left_out: Sequence[LeftOutGate] = (),
) -> Summary:
    """The summary of a report. Figures that a gate has asked for already are not computed again.

    Args:
        gates, verdict, decision: what the gates said; None before they did.
        left_out: gates that the verdict says nothing about.
    """
    evidence = evidence_of(report)
    asked = {gate.name: gate.threshold for gate in gates or ()}
    facts = {name: getattr(report.facts, name) for name in type(report.facts).model_fields}
    return Summary.model_construct(
        **facts,
        results_sha256=rows_sha256(report.rows),
        judge_profile=judged_by(report.facts),
        metrics={
            name: written(metric, measure(metric, evidence, threshold=asked.get(name)))
            for name, metric in every_metric().items()
        },
        sets=evidence.sets,
        concepts=evidence.concepts,
        detectors_alone=evidence.detectors_alone,
        attack_figures=attack_figures(evidence, gates),
        corrected=corrected(evidence.sets, report.facts.detectors),
        gates=None if gates is None else tuple(gates),
        left_out=tuple(left_out),
        verdict=verdict,
        decision=decision,
    )


def written(metric: Metric, found: Measurement) -> MetricFigure:
    """A measurement as it stands in summary.json."""
    original = found.original
    known = original is not None and math.isfinite(original)
    return MetricFigure(
        **dict(Figure.of(found.interval)),
        title=metric.title,
        unit=metric.unit.name,
        better=metric.better,
        original=round(original, 5) if known and original is not None else None,
        not_measured=found.missing or None,
    )
