"""Bounds of means that are no shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from safetext_sdk.statistics import Design, SampleError, Scale, Settings, clopper_pearson, mean_bounds

UNIT = Scale(0.0, 1.0)


def clustered(
    prompts: int, clusters: int, correlation: float, seed: int
) -> tuple[np.ndarray, list[int], list[int]]:
    """Standard normal values with a correlation within clusters."""
    rng = np.random.default_rng(seed)
    design = Design.even(prompts, clusters)
    shared = rng.standard_normal(clusters)[design.cluster_of]
    values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal(prompts)
    return values, list(range(prompts)), design.cluster_of.tolist()


def test_independent_normal_values_are_about_student() -> None:
    values, prompts, _ = clustered(200, 200, 0.0, 1)
    got = mean_bounds(values.tolist(), prompts, prompts)
    half = stats.t.ppf(0.95, 199) * values.std(ddof=1) / math.sqrt(200)
    assert got.value == pytest.approx(values.mean())
    assert half <= got.upper - got.value <= 1.15 * half
    assert half <= got.value - got.lower <= 1.15 * half


def test_clusters_widen_as_far_as_assumed_or_seen() -> None:
    values, prompts, groups = clustered(100, 20, 0.0, 2)
    alone, floored = (
        mean_bounds(values.tolist(), prompts, prompts),
        mean_bounds(values.tolist(), prompts, groups),
    )
    assert floored.evidence is not None
    assert floored.evidence.design_effect == pytest.approx(2.2)
    assert floored.upper - floored.value > 1.4 * (alone.upper - alone.value)
    values, prompts, groups = clustered(100, 20, 0.9, 2)
    seen = mean_bounds(values.tolist(), prompts, groups)
    assert seen.evidence is not None
    assert seen.evidence.design_effect > 3.5


def test_seeds_are_one_value_a_prompt() -> None:
    values, prompts, groups = clustered(60, 20, 0.2, 3)
    once = mean_bounds(values.tolist(), prompts, groups)
    thrice = mean_bounds(
        np.repeat(values, 3).tolist(), np.repeat(prompts, 3).tolist(), np.repeat(groups, 3).tolist()
    )
    assert (thrice.lower, thrice.value, thrice.upper) == pytest.approx((once.lower, once.value, once.upper))
    assert (once.n, thrice.n) == (60, 180)


def test_a_long_right_tail_widens_the_upper_bound() -> None:
    values, prompts, _ = clustered(100, 100, 0.0, 4)
    skewed = np.exp(values)
    got = mean_bounds(skewed.tolist(), prompts, prompts)
    student = stats.t.ppf(0.95, 99) * skewed.std(ddof=1) / 10
    assert got.upper - got.value > 1.1 * student
    assert got.value - got.lower == pytest.approx(student, rel=1e-6)


def test_the_same_seed_gives_the_same_bounds() -> None:
    values, prompts, groups = clustered(60, 20, 0.2, 5)
    wide = np.exp(2 * values).tolist()
    assert mean_bounds(wide, prompts, groups) == mean_bounds(wide, prompts, groups)
    assert mean_bounds(wide, prompts, groups).upper != mean_bounds(wide, prompts, groups, Scale(seed=1)).upper


def test_without_spread_a_mean_is_bounded_only_by_its_scale() -> None:
    keys = list(range(100))
    free = mean_bounds([0.0] * 100, keys, keys)
    assert (free.lower, free.upper) == (-math.inf, math.inf)
    positive = mean_bounds([0.0] * 100, keys, keys, Scale(least=0.0))
    assert (positive.lower, positive.upper) == (0.0, math.inf)
    unit = mean_bounds([0.0] * 100, keys, keys, UNIT)
    assert (unit.lower, unit.upper) == pytest.approx((0.0, clopper_pearson(0, 100).upper))
    shifted = mean_bounds([-3.0] * 100, keys, keys, Scale(-5.0, 5.0))
    assert shifted.upper == pytest.approx(-5 + 10 * clopper_pearson(20, 100).upper)


def test_spread_in_one_cluster_alone_is_no_measure_of_spread() -> None:
    keys = list(range(100))
    groups = [k % 20 for k in keys]
    values = [0.01 if g == 0 else 0.0 for g in groups]
    assert mean_bounds(values, keys, groups).upper == math.inf
    unit = mean_bounds(values, keys, groups, UNIT)
    assert unit.evidence is not None
    assert unit.upper == pytest.approx(1 - 0.05 ** (1 / unit.evidence.effective), abs=2e-3)


def test_bounds_stay_on_the_scale() -> None:
    keys = list(range(12))
    got = mean_bounds([0.0, 1.0] * 6, keys, [k // 2 for k in keys], UNIT)
    assert 0 <= got.lower < got.value < got.upper <= 1
    one = mean_bounds([0.2, 0.4, 0.9], [0, 1, 2], ["one"] * 3, UNIT)
    assert (one.lower, one.upper) == (0.0, 1.0)
    assert mean_bounds([0.2, 0.4, 0.9], [0, 1, 2], ["one"] * 3).upper == math.inf


def test_nothing_measured() -> None:
    got = mean_bounds([], [], [], UNIT)
    assert math.isnan(got.value)
    assert (got.lower, got.upper, got.n) == (0.0, 1.0, 0)


@pytest.mark.parametrize(("correlation", "clusters"), [(0.0, 28), (0.3, 28), (0.3, 10)])
def test_coverage(correlation: float, clusters: int) -> None:
    """Values with a long right tail (exponential): the upper bound covers 95 % but for chance."""
    held = 0
    for seed in range(200):
        values, prompts, groups = clustered(100, clusters, correlation, 1000 + seed)
        exponential = -stats.norm.logsf(values)
        held += mean_bounds(exponential.tolist(), prompts, groups, Scale(0.0, draws=500)).upper >= 1.0
    assert held / 200 >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 200)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_bounds([1.0], [], []),
        lambda: mean_bounds([1.0], ["a"], ["x"], Scale(0.0, 0.5)),
        lambda: mean_bounds([math.inf], ["a"], ["x"]),
        lambda: Scale(1.0, 1.0),
        lambda: Scale(draws=10),
        lambda: mean_bounds([1.0], ["a"], ["x"], settings=Settings(confidence=2)),
    ],
)
def test_wrong_input_is_refused(call) -> None:
    with pytest.raises(SampleError):
        call()
