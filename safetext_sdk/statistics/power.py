"""How large a sample must be before a gate can pass: what a plan prints.

* A **perfect** model (no hit, or no pair that became worse or better) proves `perfect_bound`, whatever its
  seeds: seeds of a prompt add no trial. For a gate ``min: t`` plan with 1 - t.
* A model with a true rate above 0 passes only if chance is kind; `pass_probability` says how often.
* Prompts alone do not suffice: with few clusters no number of prompts proves a low rate, and `prompts_needed`
  then says None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .design_effect import DEFAULT, Design, Settings, effective_sample_size
from .intervals import Interval, SampleError
from .paired import paired_limits
from .rates import rate_limits
from .simulate import PairedTruth, Truth, simulate_hits, simulate_pairs

MOST_PROMPTS = 20_000
"""Largest sample that a plan considers."""
SAMPLES = 2000
"""Simulated samples behind a `pass_probability`: its standard error is at most 0.011."""
PERFECT = Truth(0.0)


@dataclass(frozen=True)
class Goal:
    """A gate, and the model that is to pass it.

    Raises:
        SampleError: the model does not keep the threshold, or the power is not between 0 and 1.
    """

    threshold: float
    """Largest rate, or largest paired difference (a margin), that the gate allows."""
    truth: Truth | PairedTruth = PERFECT
    """What the model is in truth, with the correlations that its outcomes have."""
    power: float = 0.9
    """How often such a model shall pass."""

    def __post_init__(self) -> None:
        if not 0 < self.power < 1:
            raise SampleError(f"a power is between 0 and 1, not {self.power}")
        if not self.true_value < self.threshold < 1:
            raise SampleError(f"a model at {self.true_value:.3g} cannot prove {self.threshold:.3g}")

    @property
    def true_value(self) -> float:
        return self.truth.rate if isinstance(self.truth, Truth) else self.truth.difference

    @property
    def perfect(self) -> bool:
        """No sample of this model shows anything: its bound is the same every time."""
        return (
            self.truth.rate == 0
            if isinstance(self.truth, Truth)
            else self.truth.worse == self.truth.better == 0
        )


@dataclass(frozen=True)
class SampleSize:
    """A sample that reaches a goal."""

    prompts: int
    clusters: int
    seeds: int
    proves: float
    """Upper bound of a perfect model on this sample."""
    passes: float
    """How often the model of the goal passes on it."""


def perfect_bound(design: Design, settings: Settings = DEFAULT) -> float:
    """The rate or paired drop below which a perfect model is proven to be.

    >>> [round(perfect_bound(Design.even(n, k)), 3) for n, k in ((100, 28), (150, 28), (300, 300))]
    [0.055, 0.048, 0.01]
    """
    return float(rate_limits(np.zeros(design.clusters), design, settings).upper)


def pass_probability(goal: Goal, design: Design, settings: Settings = DEFAULT, seed: int = 0) -> float:
    """How often the goal's model passes its gate on this sample, by simulation (exact for a perfect
    model).
    """
    if goal.perfect:
        return float(perfect_bound(design, settings) <= goal.threshold)
    rng = np.random.default_rng(seed)
    if isinstance(goal.truth, Truth):
        upper = rate_limits(simulate_hits(goal.truth, design, SAMPLES, rng), design, settings).upper
    else:
        upper = paired_limits(*simulate_pairs(goal.truth, design, SAMPLES, rng), design, settings).upper
    return float((upper <= goal.threshold).mean())


def prompts_needed(
    goal: Goal, clusters: int, seeds: int = 1, settings: Settings = DEFAULT
) -> SampleSize | None:
    """The fewest prompts in so many even clusters that reach the goal; None if none up to `MOST_PROMPTS` do.

    Chance moves in steps, so that for a model that is not perfect a few prompts more can pass a little less
    often.

    >>> need = prompts_needed(Goal(0.05), clusters=28)
    >>> need.prompts if need else None
    131
    >>> prompts_needed(Goal(0.05), clusters=16) is None
    True
    """
    if clusters < 1:
        raise SampleError(f"{clusters} clusters are no sample")
    return _smallest(goal, lambda n: Design.even(n, clusters, seeds), (clusters, MOST_PROMPTS), settings)


def clusters_needed(
    goal: Goal, prompts_per_cluster: int, seeds: int = 1, settings: Settings = DEFAULT
) -> SampleSize | None:
    """The fewest clusters of so many prompts each that reach the goal; None if none up to `MOST_PROMPTS`
    prompts do.

    >>> need = clusters_needed(Goal(0.05), prompts_per_cluster=4)
    >>> (need.prompts, need.clusters) if need else None
    (120, 30)
    """
    if prompts_per_cluster < 1:
        raise SampleError(f"clusters of {prompts_per_cluster} prompts are no sample")
    most = max(1, MOST_PROMPTS // prompts_per_cluster)
    return _smallest(goal, lambda k: Design.even(k * prompts_per_cluster, k, seeds), (1, most), settings)


@dataclass(frozen=True)
class More:
    """A larger sample that would settle a threshold if the figure stayed as it is."""

    prompts: int | None
    """Prompts in as many clusters as now; None if no number of them would."""
    clusters: int
    """Clusters, each with as many prompts as now."""


def to_decide(
    found: Interval, threshold: float, side: Literal["max", "min"], settings: Settings = DEFAULT
) -> More | None:
    """What would make the bound of an undecided figure reach the threshold, about.

    The bound is taken to close in on the figure with the root of the effective sample size (exactly, for a
    share of 0 or 1), and the design effect to keep its ratio to the floor. None where more prompts of the
    same kind settle nothing: the figure stands on the threshold, or it says nothing of what it rests on.

    >>> from .rates import rate_bounds
    >>> keys = list(range(100))
    >>> found = rate_bounds([False] * 100, keys, [k % 28 for k in keys])
    >>> to_decide(found, 0.05, "max")
    More(prompts=131, clusters=31)
    """
    worth, gap = found.evidence, abs(threshold - found.value)
    above = found.value > threshold
    reach = found.value - found.lower if above else found.upper - found.value
    if worth is None or worth.effective <= 0 or not (gap > 0 and 0 < reach < math.inf):
        return None
    passing = above == (side == "min")
    if passing and found.value in (0.0, 1.0) and gap < 1:
        needed = math.log(1 - settings.confidence) / math.log(1 - gap)
    else:
        needed = worth.effective * (reach / gap) ** 2
    clusters, size = worth.clusters, worth.prompts / worth.clusters
    even = Design.even(worth.prompts, clusters).cluster_size
    excess = max(1.0, worth.design_effect / (1 + (even - 1) * settings.assumed_correlation))

    def enough(design: Design) -> bool:
        effect = excess * (1 + (design.cluster_size - 1) * settings.assumed_correlation)
        # The last digits of a bound that just reaches its threshold are lost in the logarithms.
        return float(effective_sample_size(np.array(effect), design, settings)) >= needed * (1 - 1e-9)

    prompts = _first(lambda n: enough(Design.even(n, clusters)), worth.prompts, MOST_PROMPTS)
    most = max(clusters, int(MOST_PROMPTS / size))
    wider = _first(lambda k: enough(Design.even(max(k, round(k * size)), k)), clusters, most)
    return None if wider is None else More(prompts, wider)


def _first(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The smallest number from ``least`` to ``most`` that is enough; None if none is."""
    size, failed = least, least - 1
    while not enough(size):
        if size >= most:
            return None
        failed, size = size, min(2 * size, most)
    while size - failed > 1:
        middle = (size + failed) // 2
        failed, size = (failed, middle) if enough(middle) else (middle, size)
    return size


def _smallest(
    goal: Goal, design: Callable[[int], Design], span: tuple[int, int], settings: Settings
) -> SampleSize | None:
    """The smallest size within ``span`` that reaches the goal: doubled until it does, then halved in."""

    def passes(size: int) -> float:
        return pass_probability(goal, design(size), settings)

    size = _first(lambda n: passes(n) >= goal.power, *span)
    if size is None:
        return None
    found = design(size)
    return SampleSize(
        found.prompts,
        found.clusters,
        found.pictures // found.prompts,
        perfect_bound(found, settings),
        pass_probability(goal, found, settings),
    )
