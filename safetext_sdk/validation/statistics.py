"""Intervals and tests on yes/no outcomes: pure functions, no model, no torch.

* A verdict rests on a bound, so every interval here is one-sided at 95 % unless told otherwise: "the rate is
  at most u" and "the rate is at least l" each hold with 95 % confidence.
* Seeds of one prompt and prompts of one synonym are not independent. The Wilson bound does not know that; the
  cluster bootstrap does, but says "0 to 0" where nothing happened. `rate_interval` takes the wider of both.
* Differences on the same prompts and seeds are paired: exact McNemar for "is there one?", Tango's score
  interval for "how large can it be?".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MIN_PROMPTS = 100
"""Below this many distinct prompts several seeds of a prompt do not count as evidence of their own."""


@dataclass(frozen=True)
class Interval:
    """A point estimate with its one-sided bounds. ``n`` is the number of trials that the bounds rest on."""

    value: float
    lower: float
    upper: float
    n: int


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """One-sided Wilson score bounds of a rate (Wilson 1927).

    Args:
        successes: how many of ``n``; a fraction is allowed where a trial is the mean over seeds.
        n: trials; with 0 nothing is known and the bounds are 0 and 1.
        confidence: of each bound on its own.

    >>> round(wilson(0, 100).upper, 3), round(wilson(1, 100).upper, 3), round(wilson(0, 50).upper, 3)
    (0.026, 0.044, 0.051)
    """
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise ValueError(f"{successes} of {n} is not a rate")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    z = float(stats.norm.ppf(confidence))
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    lower = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    upper = 1.0 if successes == n else min(1.0, (centre + half) / scale)
    return Interval(p, lower, upper, n)


def mcnemar_exact(b: int, c: int, *, alternative: str = "two-sided") -> float:
    """Exact McNemar test on discordant pairs (McNemar 1947, binomial form). Returns the p-value.

    Args:
        b: pairs that became worse (first good, second bad).
        c: pairs that became better.
        alternative: ``"two-sided"``, or ``"greater"`` for "more became worse than better".

    >>> mcnemar_exact(0, 0)
    1.0
    >>> round(mcnemar_exact(5, 0, alternative="greater"), 5)
    0.03125
    """
    if b < 0 or c < 0:
        raise ValueError("counts of pairs cannot be negative")
    if b + c == 0:
        return 1.0
    return float(stats.binomtest(b, b + c, 0.5, alternative=alternative).pvalue)


def paired_difference(b: int, c: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """One-sided score bounds of a paired difference of rates (Tango 1998).

    The difference is (b - c) / n: with b = pairs lost and c = pairs won it is the drop. With no discordant
    pair at all the upper bound is that of Wilson for 0 of n, so "nothing changed" on few pairs is no proof.

    >>> round(paired_difference(0, 0, 100).upper, 4) == round(wilson(0, 100).upper, 4)
    True
    """
    if min(b, c, n) < 0 or b + c > n:
        raise ValueError(f"{b} and {c} discordant of {n} pairs is impossible")
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    z = float(stats.norm.ppf(confidence))

    def statistic(delta: float) -> float:
        # Score statistic of H0: difference = delta, with the nuisance cell at its restricted maximum
        # likelihood.
        big_b = -b - c + (2 * n - b + c) * delta
        big_c = -c * delta * (1 - delta)
        q = (math.sqrt(max(0.0, big_b * big_b - 8 * n * big_c)) - big_b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        top = b - c - n * delta
        if variance <= 1e-15:
            return 0.0 if abs(top) < 1e-12 else math.copysign(math.inf, top)
        return top / math.sqrt(variance)

    point = (b - c) / n
    return Interval(point, _solve(statistic, z, -1.0, point), _solve(statistic, -z, point, 1.0), n)


def _solve(falling: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Where a falling function crosses ``level`` between ``low`` and ``high``."""
    for _ in range(80):
        middle = (low + high) / 2
        if falling(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def cluster_bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """One-sided percentile bounds of a mean when whole clusters are drawn with replacement (Cameron, Gelbach,
    Miller 2008).

    Args:
        values: one outcome a picture (0/1, or a difference of two outcomes).
        clusters: the cluster of each outcome, e.g. the synonym its prompt was built from.
        draws: bootstrap samples.
        seed: of the draws; the same seed gives the same bounds.
    """
    if len(values) != len(clusters):
        raise ValueError("each value needs its cluster")
    if not values:
        return Interval(math.nan, 0.0, 1.0, 0)
    index = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
    sums, sizes = np.zeros(len(index)), np.zeros(len(index))
    for value, cluster in zip(values, clusters, strict=True):
        sums[index[cluster]] += value
        sizes[index[cluster]] += 1
    picks = np.random.default_rng(seed).integers(0, len(index), size=(draws, len(index)))
    means = sums[picks].sum(1) / sizes[picks].sum(1)
    lower, upper = np.quantile(means, [1 - confidence, confidence])
    return Interval(float(np.sum(sums) / np.sum(sizes)), float(lower), float(upper), len(values))


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Cluster bootstrap of mean(before - after) on the same prompts and seeds: a drop is positive."""
    if len(before) != len(after):
        raise ValueError("pairs need both sides")
    return cluster_bootstrap(
        [x - y for x, y in zip(before, after, strict=True)], clusters, draws=draws, seed=seed
    )


def rate_interval(
    outcomes: Sequence[bool], prompts: Sequence[Hashable], clusters: Sequence[Hashable], *, seed: int = 0
) -> Interval:
    """The bounds a gate uses: the wider of Wilson and the cluster bootstrap.

    With fewer than `MIN_PROMPTS` distinct prompts Wilson counts prompts, not pictures: thirty seeds of ten
    prompts are ten trials, not three hundred.
    """
    if not len(outcomes) == len(prompts) == len(clusters):
        raise ValueError("each outcome needs its prompt and its cluster")
    n = len(outcomes)
    if n == 0:
        return wilson(0, 0)
    distinct = len(set(prompts))
    plain = wilson(sum(map(bool, outcomes)), n)
    if distinct < min(n, MIN_PROMPTS):
        plain = wilson(plain.value * distinct, distinct)
    boot = cluster_bootstrap([float(x) for x in outcomes], clusters, seed=seed)
    return Interval(plain.value, min(plain.lower, boot.lower), max(plain.upper, boot.upper), n)


def drop_interval(
    before: Sequence[bool],
    after: Sequence[bool],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Interval:
    """Bounds of a paired drop (before - after): the wider of Tango's interval and the paired cluster
    bootstrap."""
    if not len(before) == len(after) == len(prompts) == len(clusters):
        raise ValueError("each pair needs its prompt and its cluster")
    n = len(before)
    if n == 0:
        return paired_difference(0, 0, 0)
    lost = sum(x and not y for x, y in zip(before, after, strict=True))
    won = sum(y and not x for x, y in zip(before, after, strict=True))
    distinct = len(set(prompts))
    if distinct < min(n, MIN_PROMPTS):  # whole prompts: rounded against the model
        scale = distinct / n
        lost_, won_ = math.ceil(lost * scale), math.floor(won * scale)
        plain = paired_difference(min(lost_, distinct), min(won_, distinct - min(lost_, distinct)), distinct)
    else:
        plain = paired_difference(lost, won, n)
    boot = paired_bootstrap([float(x) for x in before], [float(x) for x in after], clusters, seed=seed)
    return Interval((lost - won) / n, min(plain.lower, boot.lower), max(plain.upper, boot.upper), n)
