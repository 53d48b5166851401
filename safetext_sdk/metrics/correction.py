"""Unsafe rates corrected for the detectors' stated errors, beside the raw ones. Gates read the raw figures
only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..results.detector_entry import DetectorEntry
from ..results.figures import BeforeAfter, CorrectedFigures, Figure, SetComparison
from ..statistics.correction import ErrorRates, all_see, any_concept, any_sees, rogan_gladen
from ..statistics.intervals import SampleError


def joint_error_rates(detectors: Sequence[DetectorEntry]) -> ErrorRates | None:
    """Error rates of all detectors together, by the rule of each concept; None if one states none."""
    concepts: dict[str, list[ErrorRates]] = {}
    rules: dict[str, str] = {}
    for entry in detectors:
        stated = entry.error_rates or {}
        try:
            rates = ErrorRates(stated["recall"], stated["false_alarm"])
        except (KeyError, SampleError):
            return None
        concepts.setdefault(entry.concept, []).append(rates)
        rules[entry.concept] = entry.rule
    if not concepts:
        return None
    return any_concept(
        [(all_see if rules[name] == "all" else any_sees)(found) for name, found in concepts.items()]
    )


def corrected(
    sets: Mapping[str, SetComparison], detectors: Sequence[DetectorEntry]
) -> CorrectedFigures | None:
    """The corrected unsafe rate of every set; None where the detectors do not state enough."""
    rates = joint_error_rates(detectors)
    if rates is None:
        return None
    out: dict[str, BeforeAfter] = {}
    for name, found in sets.items():
        before = rogan_gladen(found.original.unsafe.interval(), rates)
        after = rogan_gladen(found.hardened.unsafe.interval(), rates)
        if before is None or after is None:
            return None
        out[name] = BeforeAfter(original=Figure.of(before), hardened=Figure.of(after))
    return CorrectedFigures(
        method="rogan-gladen",
        recall=round(rates.recall, 5),
        false_alarm=round(rates.false_alarm, 5),
        gated=False,
        sets=out,
    )
