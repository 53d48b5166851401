"""Rates corrected for the errors of the detectors that measured them. They stand beside raw figures; no gate
reads them.

A detector with recall s and false-alarm rate f shows r = s p + f (1 - p) where the true rate is p; Rogan and
Gladen (1978, American Journal of Epidemiology 107, 71-76) turn that round: p = (r - f) / (s - f). The bounds
are those of r, sent through the same line. They hold as far as three things do: the stated error rates are
exact, they were measured on pictures like these, and several detectors err independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .intervals import Interval, SampleError

MIN_INFORMATION = 0.1
"""Least recall minus false alarm (Youden's index): below it the detectors tell too little for a correction to
mean anything.
"""


@dataclass(frozen=True)
class ErrorRates:
    """How often a detector sees what is there, and what is not.

    Raises:
        SampleError: a rate outside 0 to 1.
    """

    recall: float
    false_alarm: float

    def __post_init__(self) -> None:
        if not (0 <= self.recall <= 1 and 0 <= self.false_alarm <= 1):
            raise SampleError(f"error rates are between 0 and 1, not {self.recall} and {self.false_alarm}")


def any_sees(rates: Sequence[ErrorRates]) -> ErrorRates:
    """Independent detectors of one concept of which one is enough.

    >>> any_sees([ErrorRates(0.5, 0.0), ErrorRates(0.5, 0.0)])
    ErrorRates(recall=0.75, false_alarm=0.0)
    """
    _some(rates)
    return ErrorRates(
        1 - math.prod(1 - r.recall for r in rates), 1 - math.prod(1 - r.false_alarm for r in rates)
    )


def all_see(rates: Sequence[ErrorRates]) -> ErrorRates:
    """Independent detectors of one concept that must agree."""
    _some(rates)
    return ErrorRates(math.prod(r.recall for r in rates), math.prod(r.false_alarm for r in rates))


def any_concept(rates: Sequence[ErrorRates]) -> ErrorRates:
    """A picture is unsafe if any concept is seen: false alarms of the concepts add up, the recall is that of
    the one seen worst.
    """
    _some(rates)
    return ErrorRates(min(r.recall for r in rates), 1 - math.prod(1 - r.false_alarm for r in rates))


def _some(rates: Sequence[ErrorRates]) -> None:
    if not rates:
        raise SampleError("no detector, so no error rates")


def rogan_gladen(raw: Interval, rates: ErrorRates) -> Interval | None:
    """The corrected rate with its bounds, cut to 0 to 1; None if the detectors tell too little.

    >>> found = rogan_gladen(Interval(0.5, 0.4, 0.6, 100), ErrorRates(0.9, 0.1))
    >>> (found.value, found.lower, found.upper, found.n)
    (0.5, 0.375, 0.625, 100)
    """
    if rates.recall - rates.false_alarm < MIN_INFORMATION:
        return None

    def line(rate: float) -> float:
        if math.isnan(rate):
            return rate
        true = (rate - rates.false_alarm) / (rates.recall - rates.false_alarm)
        return round(min(1.0, max(0.0, true)), 12)

    return replace(
        raw, value=line(raw.value), lower=line(raw.lower), upper=line(raw.upper), method="rogan-gladen"
    )
