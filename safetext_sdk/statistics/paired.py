"""Two models on the same prompts and seeds: how much worse can the second be?

The absence of a significant difference proves nothing, so a comparison is a **non-inferiority bound**: it
passes if the upper bound of "share that became worse minus share that became better" stays within a margin.

`paired_bounds` joins the Clopper-Pearson bounds of the two shares by variance recovery (MOVER: Zou and Donner
2008, Statistics in Medicine 27, 1693-1702), with the correlation of two cells of one multinomial, on the
effective sample size of `design_effect`. Why this one: for independent pairs coverage can be computed without
simulation, and this bound's is at least 95 % wherever we looked (20 to 200 pairs, all shares), where Tango's
score bound falls to 90 %. Where nothing became better it is the Clopper-Pearson bound of the share that
became worse: 0 of 100 independent pairs prove 2.95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .design_effect import DEFAULT, Design, Settings, design_effect, effective_sample_size
from .intervals import (
    CONFIDENCE,
    FloatArray,
    Interval,
    Limits,
    SampleError,
    check_confidence,
    clopper_pearson_limits,
)

METHOD = "paired difference of clopper-pearson bounds on the effective sample size"


def paired_bounds(
    worse: Sequence[bool],
    better: Sequence[bool],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    settings: Settings = DEFAULT,
) -> Interval:
    """One-sided bounds of (pairs that became worse - pairs that became better) / pairs.

    Args:
        worse: one a pair (same prompt, negative prompt and seed under both models): right before, wrong now.
        better: wrong before, right now.
        prompts: the prompt of each pair: seeds of one prompt are one trial, whose outcome is their net mean.
        clusters: the cluster of each pair.
        settings: confidence, and the correlation that is allowed for.

    Returns:
        The difference with its bounds; no worse than a margin is proven where ``upper`` is at most the
        margin. Without pairs: NaN, -1 and 1.

    Raises:
        SampleError: lengths differ, or a pair is both worse and better.

    >>> keys = list(range(100))
    >>> four = [i < 4 for i in keys]
    >>> round(paired_bounds(four, [False] * 100, keys, keys).upper, 4)
    0.0892
    """
    design = Design.of(prompts, clusters)
    design.expect(len(worse))
    design.expect(len(better))
    if any(x and y for x, y in zip(worse, better, strict=True)):
        raise SampleError("a pair cannot have become worse and better at once")
    if not worse:
        return Interval(math.nan, -1.0, 1.0, 0, METHOD)
    net = design.prompt_means(np.asarray(worse, np.float64) - np.asarray(better, np.float64))
    found = paired_limits(
        design.cluster_sums(np.maximum(net, 0)), design.cluster_sums(np.maximum(-net, 0)), design, settings
    )
    return design.interval(found, METHOD, settings)


def drop_bounds(
    before: Sequence[bool],
    after: Sequence[bool],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    settings: Settings = DEFAULT,
) -> Interval:
    """`paired_bounds` of a drop: share true before minus share true after, on the same prompts and seeds.

    Raises:
        SampleError: lengths differ.
    """
    if len(before) != len(after):
        raise SampleError(f"pairs need both sides: {len(before)} before, {len(after)} after")
    both = list(zip(before, after, strict=True))
    return paired_bounds(
        [x and not y for x, y in both], [y and not x for x, y in both], prompts, clusters, settings
    )


def paired_limits(
    worse: ArrayLike, better: ArrayLike, design: Design, settings: Settings = DEFAULT
) -> Limits:
    """`paired_bounds` for many samples of one design.

    Args:
        worse: net losses of each cluster, over its pictures, [..., clusters].
        better: net gains likewise.
        design: who belongs to whom.
        settings: confidence, and the correlation that is allowed for.
    """
    lost, won = np.asarray(worse, np.float64), np.asarray(better, np.float64)
    p = np.clip(lost.sum(-1) / design.pictures, 0.0, 1.0)
    q = np.clip(won.sum(-1) / design.pictures, 0.0, 1.0 - p)
    effect = design_effect(lost - won, p + q - (p - q) ** 2, design, settings)
    n = effective_sample_size(effect, design, settings)
    lower, upper = difference_limits(p, q, n, settings.confidence)
    return Limits(p - q, lower, upper, effect, n)


def difference_limits(
    worse: ArrayLike, better: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[FloatArray, FloatArray]:
    """(lower, upper) of the difference of two shares of the same ``n`` independent pairs, for arrays.

    Where ``n``, which may be any number, is 0 the bounds are -1 and 1.
    """
    p, q, size = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (worse, better, n)))
    p_low, p_high = clopper_pearson_limits(p * size, size, confidence)
    q_low, q_high = clopper_pearson_limits(q * size, size, confidence)
    # Cells of one multinomial: a pair that became worse cannot have become better. That widens the
    # difference.
    apart = np.where((p < 1) & (q < 1), (1 - p) * (1 - q), 1.0)
    tie = np.sqrt(np.clip(p * q / apart, 0.0, 1.0))
    lower = p - q - _joined(p - p_low, q_high - q, tie)
    upper = p - q + _joined(p_high - p, q - q_low, tie)
    nothing = size <= 0
    return (
        np.where(nothing, -1.0, np.clip(lower, -1.0, 1.0)),
        np.where(nothing, 1.0, np.clip(upper, -1.0, 1.0)),
    )


def _joined(a: FloatArray, b: FloatArray, tie: FloatArray) -> FloatArray:
    return np.sqrt(a * a + b * b + 2 * tie * a * b)


def mcnemar_exact(b: int, c: int, *, alternative: str = "two-sided") -> float:
    """Exact McNemar test on discordant pairs (McNemar 1947, binomial form). Returns the p-value. For reports,
    not for gates.

    Args:
        b: pairs that became worse (first good, second bad).
        c: pairs that became better.
        alternative: ``"two-sided"``, or ``"greater"`` for "more became worse than better".

    Raises:
        SampleError: a negative count, or another alternative.

    >>> mcnemar_exact(0, 0)
    1.0
    >>> round(mcnemar_exact(5, 0, alternative="greater"), 5)
    0.03125
    """
    if b < 0 or c < 0:
        raise SampleError("counts of pairs cannot be negative")
    if alternative not in ("two-sided", "greater"):
        raise SampleError(f'alternative is "two-sided" or "greater", not {alternative!r}')
    if b + c == 0:
        return 1.0
    if alternative == "greater":
        return float(special.bdtrc(b - 1, b + c, 0.5)) if b else 1.0
    return min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5)))


def paired_difference(b: int, c: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """One-sided score bounds of a paired difference of rates (Tango 1998, Statistics in Medicine 17,
    891-908), for independent pairs.

    The difference is (b - c) / n: with b = pairs lost and c = pairs won it is the drop. With no discordant
    pair at all the upper bound is that of Wilson for 0 of n, so "nothing changed" on few pairs is no proof.
    For reports: covers as little as 90 %.

    Raises:
        SampleError: a negative count, or more discordant pairs than pairs.

    >>> round(paired_difference(0, 0, 100).upper, 4)
    0.0263
    """
    check_confidence(confidence)
    if min(b, c, n) < 0 or b + c > n:
        raise SampleError(f"{b} and {c} discordant of {n} pairs is impossible")
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0, "tango")
    z = float(special.ndtri(confidence))

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
    return Interval(point, _solve(statistic, z, -1.0, point), _solve(statistic, -z, point, 1.0), n, "tango")


def _solve(falling: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Where a falling function crosses ``level`` between ``low`` and ``high``."""
    for _ in range(80):
        middle = (low + high) / 2
        if falling(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
