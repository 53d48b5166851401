"""An interval, and the two bounds of a share from independent trials.

* Every bound of this package is **one-sided**: "at most ``upper``" and "at least ``lower``" each hold with
  the stated confidence on their own, because a gate asks one of the two questions and never both.
* `wilson` is short and close on average, yet covers only about 93 % near 0 and 1. `clopper_pearson` never
  covers less than it says. The bounds that gates use (`rates`, `paired`) are built on the latter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import UsageError

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of each one-sided bound on its own."""


class SampleError(UsageError, ValueError):
    """Numbers that cannot come from one sample: lengths that differ, more hits than trials, a share outside 0
    to 1.
    """


@dataclass(frozen=True)
class Evidence:
    """How much a sample is worth once everything that goes together is counted together."""

    pictures: int
    prompts: int
    """Distinct prompts."""
    clusters: int
    """Groups of prompts that may rise and fall together, e.g. all prompts of one synonym."""
    design_effect: float
    """How many times larger the variance is than that of as many independent prompts; at least 1."""
    effective: float
    """Independent prompts that would say as much."""
    assumed_correlation: float
    """The intra-cluster correlation below which the design effect was not allowed to fall."""

    def text(self) -> str:
        """For a person, in one line.

        >>> Evidence(300, 100, 28, 1.79, 53.0, 0.3).text()
        '300 pictures of 100 prompts in 28 clusters, worth 53 independent prompts'
        """
        counts = ((self.pictures, "picture"), (self.prompts, "prompt"), (self.clusters, "cluster"))
        pictures, prompts, clusters = (f"{n} {word}" if n == 1 else f"{n} {word}s" for n, word in counts)
        return f"{pictures} of {prompts} in {clusters}, worth {self.effective:.0f} independent prompts"


@dataclass(frozen=True)
class Interval:
    """A point estimate with its one-sided bounds.

    ``value`` is NaN where nothing was measured. Bounds of a mean can be infinite, which says that the sample
    cannot bound it: neither passes nor fails anything.
    """

    value: float
    lower: float
    upper: float
    n: int
    """Outcomes that were counted (pictures or pairs of pictures); what they are worth is in ``evidence``."""
    method: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds of many samples of one design at once; every array has the shape of the samples."""

    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    design_effect: FloatArray
    effective: FloatArray


def check_confidence(confidence: float) -> None:
    """Raises `SampleError` unless ``confidence`` is above one half and below 1."""
    if not 0.5 < confidence < 1:
        raise SampleError(f"a confidence is above 0.5 and below 1, not {confidence}")


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """One-sided Wilson score bounds of a share (Wilson 1927). For figures in reports, not for gates.

    Args:
        successes: how many of ``n``; a fraction is allowed where a trial is the mean over seeds.
        n: independent trials; with 0 nothing is known and the bounds are 0 and 1.
        confidence: of each bound on its own.

    Raises:
        SampleError: ``successes`` are not between 0 and ``n``.

    >>> round(wilson(0, 100).upper, 3), round(wilson(1, 100).upper, 3), round(wilson(0, 50).upper, 3)
    (0.026, 0.044, 0.051)
    """
    check_confidence(confidence)
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise SampleError(f"{successes} of {n} is not a rate")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, "wilson")
    lower, upper = wilson_limits(successes, n, confidence)
    return Interval(successes / n, float(lower), float(upper), n, "wilson")


def wilson_limits(
    successes: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[FloatArray, FloatArray]:
    """(lower, upper) of `wilson` for arrays; every ``n`` is positive."""
    x, size = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    z = float(special.ndtri(confidence))
    p = x / size
    centre = p + z * z / (2 * size)
    half = z * np.sqrt(p * (1 - p) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    lower = np.where(x <= 0, 0.0, np.maximum(0.0, (centre - half) / scale))
    upper = np.where(x >= size, 1.0, np.minimum(1.0, (centre + half) / scale))
    return lower, upper


def clopper_pearson(successes: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """One-sided exact bounds of a share of independent trials (Clopper and Pearson 1934).

    Args:
        successes: how many of ``n``; between two whole numbers the bounds run smoothly from one to the next.
        n: independent trials; with 0 nothing is known and the bounds are 0 and 1.
        confidence: of each bound on its own.

    Raises:
        SampleError: ``successes`` are not between 0 and ``n``.

    >>> round(clopper_pearson(0, 100).upper, 4), round(clopper_pearson(100, 100).lower, 4)
    (0.0295, 0.9705)
    """
    check_confidence(confidence)
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise SampleError(f"{successes} of {n} is not a rate")
    lower, upper = clopper_pearson_limits(successes, n, confidence)
    return Interval(successes / n if n else math.nan, float(lower), float(upper), n, "clopper-pearson")


def clopper_pearson_limits(
    successes: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[FloatArray, FloatArray]:
    """(lower, upper) of `clopper_pearson` for arrays, with ``n`` any positive number: an effective sample
    size.

    The bounds are quantiles of beta distributions, which are defined between whole numbers too; this is how
    Korn and Graubard (1998, Survey Methodology 24, 193-201) put a design effect into an exact interval. Where
    ``n`` is 0 the bounds are 0 and 1.
    """
    x, size = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    none, all_ = x <= 0, x >= size
    # The masked entries get harmless arguments: the inverse is undefined where a parameter is 0.
    low = special.betaincinv(np.where(none, 1.0, x), np.where(none, 1.0, size - x + 1), 1 - confidence)
    high = special.betaincinv(np.where(all_, 1.0, x + 1), np.where(all_, 1.0, size - x), confidence)
    return np.where(none, 0.0, low), np.where(all_, 1.0, high)
