"""The bound of a mean that is not a share: a distance, a drift, a similarity.

* The standard error is the larger of the one seen between clusters and the one that the floor of
  `design_effect` implies.
* Its multiple is the larger of Student's quantile and that of a studentised cluster bootstrap (bootstrap-t of
  Cameron, Gelbach and Miller 2008), because distances have long right tails and Student's upper bound
  is then too low.
* No bound without assumptions exists for a mean whose values can be arbitrarily large, so this one promises
  less than `rates`. In ``benchmarks/bound_coverage.py`` it covers 95 % and more on clustered samples; where
  every prompt is a cluster of its own 95 % for normal values, 92 % for exponential ones, and 91 % for a
  skewness of 6. A metric whose gate must not hang on rare huge values should be a share ("how many moved
  further than").
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from .design_effect import DEFAULT, Design, Settings, cluster_variance, design_effect, effective_sample_size
from .intervals import FloatArray, Interval, SampleError, clopper_pearson_limits

METHOD = "student and studentised cluster bootstrap"
RESCALED = "clopper-pearson of the rescaled mean"


@dataclass(frozen=True)
class Scale:
    """The values that a metric can take, and how its bootstrap is drawn.

    Raises:
        SampleError: the least value is not below the largest, or fewer than 200 draws.
    """

    least: float = -math.inf
    largest: float = math.inf
    draws: int = 2000
    seed: int = 0
    """Of the draws; the same seed gives the same bounds."""

    def __post_init__(self) -> None:
        if not self.least < self.largest:
            raise SampleError(f"a metric from {self.least} to {self.largest} has no values")
        if self.draws < 200:
            raise SampleError(f"{self.draws} draws cannot tell a 95 % quantile; take 200 or more")

    @property
    def limited(self) -> bool:
        """Both ends are known."""
        return math.isfinite(self.least) and math.isfinite(self.largest)


ANY = Scale()


def mean_bounds(
    values: Sequence[float],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    scale: Scale = ANY,
    settings: Settings = DEFAULT,
) -> Interval:
    """One-sided bounds of the mean over pictures.

    Args:
        values: one a picture, or one difference a pair of pictures.
        prompts: the prompt of each picture: seeds of one prompt are one value, their mean.
        clusters: the cluster of each picture.
        scale: the values that the metric can take.
        settings: confidence, and the correlation that is allowed for.

    Returns:
        The mean, its bounds, and what the sample was worth. Where the sample shows too little spread to be
        judged by (all values equal, or all that differ in one or two clusters) a bound is that of a share,
        rescaled, if ``scale`` has both ends, else infinite.

    Raises:
        SampleError: lengths differ, a value is not finite, or outside ``scale``.

    >>> distances = [0.1 + 0.01 * (i % 7) for i in range(100)]
    >>> found = mean_bounds(distances, list(range(100)), [i % 25 for i in range(100)])
    >>> round(found.lower, 3), round(found.value, 3), round(found.upper, 3)
    (0.125, 0.13, 0.135)
    """
    design = Design.of(prompts, clusters)
    design.expect(len(values))
    if not values:
        return Interval(math.nan, scale.least, scale.largest, 0, METHOD)
    flat = np.asarray(values, np.float64)
    if not bool(np.isfinite(flat).all()):
        raise SampleError("a mean of values that are not finite is no figure")
    if not bool(((flat >= scale.least) & (flat <= scale.largest)).all()):
        raise SampleError(f"a value is outside {scale.least} to {scale.largest}")
    means = design.prompt_means(flat)
    sums, weights = design.cluster_sums(means), design.prompt_weights
    mean = float(flat.mean())
    n = design.effective_prompts
    spread = float((weights * (means - mean) ** 2).sum() / weights.sum())
    effect = design_effect(sums, np.array(spread), design, settings)
    error = math.sqrt(spread / max(n - 1, 1e-9) * float(effect))
    down, up = _multiples(sums, design, scale, settings)
    lower, upper = mean - down * error if error else -math.inf, mean + up * error if error else math.inf
    effective = effective_sample_size(effect, design, settings)
    lower, upper, method = _within(scale, Interval(mean, lower, upper, design.pictures), effective, settings)
    return Interval(
        mean,
        lower,
        upper,
        design.pictures,
        method,
        design.evidence(float(effect), float(effective), settings),
    )


def _multiples(sums: FloatArray, design: Design, scale: Scale, settings: Settings) -> tuple[float, float]:
    """Standard errors below and above the mean; infinite where the clusters cannot tell."""
    student = float(special.stdtrit(design.effective_clusters - 1, settings.confidence))
    count, weights = design.clusters, design.cluster_weights
    mean, seen = sums.sum() / weights.sum(), float(cluster_variance(sums, design))
    if seen <= 0 or not math.isfinite(student):
        return math.inf, math.inf
    picks = np.random.default_rng(scale.seed).integers(0, count, size=(scale.draws, count))
    drawn, sizes = sums[picks], weights[picks]
    total = sizes.sum(-1)
    moved = drawn.sum(-1) / total - mean
    variance = count / (count - 1) * ((drawn - sizes * (moved + mean)[:, None]) ** 2).sum(-1) / total**2
    # A draw of clusters that are all alike moves the mean by an infinite number of its own standard errors.
    still = variance <= 1e-18 * seen
    endless = np.where(np.abs(moved) <= 1e-9 * math.sqrt(seen), 0.0, np.copysign(np.inf, moved))
    ratio = np.where(still, endless, moved / np.sqrt(np.where(still, 1.0, variance)))
    low = float(np.quantile(ratio, 1 - settings.confidence, method="lower"))
    high = float(np.quantile(ratio, settings.confidence, method="higher"))
    return max(student, high), max(student, -low)


def _within(
    scale: Scale, found: Interval, effective: FloatArray, settings: Settings
) -> tuple[float, float, str]:
    """Bounds cut to the scale; an infinite one becomes that of a share where the scale has two ends."""
    known = math.isfinite(found.lower) and math.isfinite(found.upper)
    if known or not scale.limited:
        return max(found.lower, scale.least), min(found.upper, scale.largest), METHOD
    width = scale.largest - scale.least
    share = min(1.0, max(0.0, (found.value - scale.least) / width))
    low, high = clopper_pearson_limits(share * effective, effective, settings.confidence)
    lower = found.lower if math.isfinite(found.lower) else scale.least + width * float(low)
    upper = found.upper if math.isfinite(found.upper) else scale.least + width * float(high)
    return max(lower, scale.least), min(upper, scale.largest), RESCALED
