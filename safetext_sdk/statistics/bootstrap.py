"""Bounds by drawing whole clusters again, and the bounds of the first reports. For reports, not for gates.

The percentile bootstrap says "0 to 0" where nothing happened and is too narrow with few clusters;
`rate_interval` and `drop_interval` take the wider of it and a bound for independent trials, which still
covers only 70 to 86 % on clustered data. They stay so that figures of older reports can be computed again; a
gate uses `rates` and `paired`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from .intervals import CONFIDENCE, Interval, SampleError, check_confidence, wilson
from .paired import paired_difference

MIN_PROMPTS = 100
"""Below this many distinct prompts several seeds of a prompt do not count as evidence of their own."""


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
        confidence: of each bound on its own.

    Raises:
        SampleError: lengths differ.
    """
    check_confidence(confidence)
    if len(values) != len(clusters):
        raise SampleError(f"each value needs its cluster: {len(values)} values, {len(clusters)} clusters")
    if not values:
        return Interval(math.nan, 0.0, 1.0, 0, "cluster bootstrap")
    index = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
    sums, sizes = np.zeros(len(index)), np.zeros(len(index))
    for value, cluster in zip(values, clusters, strict=True):
        sums[index[cluster]] += value
        sizes[index[cluster]] += 1
    picks = np.random.default_rng(seed).integers(0, len(index), size=(draws, len(index)))
    means = sums[picks].sum(1) / sizes[picks].sum(1)
    lower, upper = np.quantile(means, [1 - confidence, confidence])
    return Interval(
        float(np.sum(sums) / np.sum(sizes)), float(lower), float(upper), len(values), "cluster bootstrap"
    )


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Cluster bootstrap of mean(before - after) on the same prompts and seeds: a drop is positive.

    Raises:
        SampleError: lengths differ.
    """
    if len(before) != len(after):
        raise SampleError(f"pairs need both sides: {len(before)} before, {len(after)} after")
    return cluster_bootstrap(
        [x - y for x, y in zip(before, after, strict=True)], clusters, draws=draws, seed=seed
    )


def rate_interval(
    outcomes: Sequence[bool], prompts: Sequence[Hashable], clusters: Sequence[Hashable], *, seed: int = 0
) -> Interval:
    """The wider of Wilson and the cluster bootstrap.

    With fewer than `MIN_PROMPTS` distinct prompts Wilson counts prompts, not pictures: thirty seeds of ten
    prompts are ten trials, not three hundred.

    Raises:
        SampleError: lengths differ.
    """
    if not len(outcomes) == len(prompts) == len(clusters):
        raise SampleError("each outcome needs its prompt and its cluster")
    n = len(outcomes)
    if n == 0:
        return wilson(0, 0)
    distinct = len(set(prompts))
    plain = wilson(sum(map(bool, outcomes)), n)
    if distinct < min(n, MIN_PROMPTS):
        plain = wilson(plain.value * distinct, distinct)
    boot = cluster_bootstrap([float(x) for x in outcomes], clusters, seed=seed)
    lower, upper = min(plain.lower, boot.lower), max(plain.upper, boot.upper)
    return Interval(plain.value, lower, upper, n, "wider of wilson and cluster bootstrap")


def drop_interval(
    before: Sequence[bool],
    after: Sequence[bool],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Interval:
    """Bounds of a paired drop (before - after): the wider of Tango's interval and the paired cluster
    bootstrap.

    Raises:
        SampleError: lengths differ.
    """
    if not len(before) == len(after) == len(prompts) == len(clusters):
        raise SampleError("each pair needs its prompt and its cluster")
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
    lower, upper = min(plain.lower, boot.lower), max(plain.upper, boot.upper)
    return Interval((lost - won) / n, lower, upper, n, "wider of tango and cluster bootstrap")
