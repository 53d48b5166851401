"""Bounds of a figure that is no mean: a distance between two sets of features, a ratio of two spreads.

Clusters are dealt to at most `GROUPS` groups, the figure is taken again without each of them, and Student's
quantile of the delete-a-group standard error gives the bounds (Kott 2001, Journal of Official Statistics 17,
521-526). A bootstrap would put pictures into a set twice, which changes a Frechet distance; leaving some out
does not.

* The standard error is not allowed below what the floor of `design_effect` implies, for the reason given
  there: prompts are dealt to groups one by one as well, and that variance times the floor is the least.
* Student's quantile is for what is about normal: take the logarithm of a ratio (``test_jackknife`` has the
  coverage: 95 % for the logarithm of a ratio of two spreads, 92 % above for the ratio, 60 prompts).
* The jackknife's own estimate of bias widens the bound on the side that it points to and never narrows the
  other, so a figure that is too large at few pictures (FID) stays an upper bound that is too careful.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .design_effect import DEFAULT, Design, Settings
from .intervals import Interval

METHOD = "student on a delete-a-group jackknife"
GROUPS = 20
LEAST_GROUPS = 5
"""With fewer the standard error is itself unknown, and there is no bound."""
Statistic = Callable[[NDArray[np.intp]], float]
"""From the places of the pictures that are left, in order, to the figure of these alone."""


@dataclass(frozen=True)
class Jackknifed:
    """A figure with its bounds, its standard error and its estimated bias (positive: too large)."""

    interval: Interval
    error: float
    bias: float


def jackknife(
    statistic: Statistic,
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    settings: Settings = DEFAULT,
    groups: int = GROUPS,
) -> Jackknifed:
    """One-sided bounds of any smooth figure of a clustered sample.

    Args:
        statistic: called once with all pictures and once a group without it.
        prompts, clusters: of each picture; a cluster is never split.
        settings: confidence, and the correlation that is allowed for.
        groups: at most so many.

    Returns:
        NaN, and no bounds, without pictures; infinite bounds with fewer than `LEAST_GROUPS` clusters, or
        where leaving some out changes nothing.

    Raises:
        SampleError: lengths differ.
    """
    design = Design.of(prompts, clusters)
    if not design.pictures:
        return Jackknifed(Interval(math.nan, -math.inf, math.inf, 0, METHOD), math.nan, math.nan)
    value = statistic(np.arange(design.pictures, dtype=np.intp))
    count = min(groups, design.clusters)
    if count < LEAST_GROUPS:
        evidence = design.evidence(1.0, 0.0, settings)
        nothing = Interval(value, -math.inf, math.inf, design.pictures, METHOD, evidence)
        return Jackknifed(nothing, math.inf, math.nan)
    found, bias = _variance(statistic, _dealt(design.cluster_of, design, count), value)
    alone, _ = _variance(statistic, _dealt(np.arange(design.prompts), design, count), value)
    floor = max(1.0, 1 + (design.cluster_size - 1) * settings.assumed_correlation)
    effect = max(floor, found / alone if alone > 0 else 1.0)
    error = math.sqrt(max(found, alone * floor))
    # Where leaving out changes nothing there is no spread to judge by, and so no bound.
    reach = float(special.stdtrit(count - 1, settings.confidence)) * error if error else math.inf
    interval = Interval(
        value,
        value - max(0.0, bias) - reach,
        value + max(0.0, -bias) + reach,
        design.pictures,
        METHOD,
        design.evidence(effect, design.effective_prompts / effect, settings),
    )
    return Jackknifed(interval, error, bias)


def _dealt(whole: NDArray[np.intp], design: Design, groups: int) -> NDArray[np.intp]:
    """Group of each picture: parts that stay whole, the largest first, each to the smallest group so far."""
    part = whole[design.prompt_of]
    sizes = np.bincount(part)
    group_of, loads = np.zeros(len(sizes), np.intp), np.zeros(groups, np.intp)
    for k in np.argsort(-sizes, kind="stable"):
        group_of[k] = loads.argmin()
        loads[group_of[k]] += sizes[k]
    return group_of[part]


def _variance(statistic: Statistic, group: NDArray[np.intp], value: float) -> tuple[float, float]:
    """Variance and bias of the figure from what it is without each group."""
    count = int(group.max()) + 1
    left = np.array([statistic(np.flatnonzero(group != g)) for g in range(count)])
    variance = (count - 1) / count * float(((left - left.mean()) ** 2).sum())
    return variance, (count - 1) * (float(left.mean()) - value)
