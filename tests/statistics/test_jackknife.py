"""Bounds of figures that are no means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safetext_sdk.statistics import frechet_distance, jackknife, mean_bounds
from safetext_sdk.statistics.design_effect import Settings


def test_of_a_mean_it_is_students() -> None:
    values = np.random.default_rng(0).normal(5, 2, 200)
    keys = list(range(200))
    found = jackknife(lambda keep: float(values[keep].mean()), keys, keys)
    assert found.interval.value == pytest.approx(values.mean())
    assert found.bias == pytest.approx(0, abs=1e-9)
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(200), rel=0.35)
    plain = mean_bounds(list(values), keys, keys)
    assert found.interval.upper - found.interval.value == pytest.approx(plain.upper - plain.value, rel=0.4)


def test_it_covers() -> None:
    """The logarithm of a ratio of two spreads, 300 samples: both one-sided bounds hold in 95 % of them, less
    its own error. (The ratio itself, which is skewed: 92 and 99 %.)"""
    rng, keys = np.random.default_rng(1), list(range(60))
    below = above = 0
    for _ in range(300):
        x, y = rng.normal(0, 1, 60), rng.normal(0, 2, 60)
        found = jackknife(lambda keep, x=x, y=y: math.log(y[keep].var() / x[keep].var()), keys, keys).interval
        below += found.lower <= math.log(4)
        above += found.upper >= math.log(4)
    assert min(below, above) >= 300 * 0.95 - 2 * math.sqrt(300 * 0.95 * 0.05)


def test_clusters_widen_and_are_never_taken_for_independent() -> None:
    rng = np.random.default_rng(2)
    prompts, clusters = list(range(120)), [k // 6 for k in range(120)]
    noise = rng.normal(size=120)

    def mean_of(values: np.ndarray, floor: float = 0.3) -> float:
        found = jackknife(
            lambda keep: float(values[keep].mean()), prompts, clusters, Settings(assumed_correlation=floor)
        )
        return found.error

    together = noise + 3 * np.repeat(rng.normal(size=20), 6)
    assert mean_of(together) > 2 * mean_of(noise)
    assert mean_of(noise) ** 2 >= 2.4 * mean_of(noise, floor=0.0) ** 2  # 1 + 5 * .3 = 2.5


def test_the_bias_of_a_frechet_distance_is_seen_and_only_lowers_the_lower_bound() -> None:
    rng, keys = np.random.default_rng(3), list(range(60))
    x, y = rng.normal(size=(60, 10)), rng.normal(size=(60, 10))  # the true distance is 0
    found = jackknife(lambda keep: frechet_distance(x[keep], y[keep]), keys, keys)
    assert 0.5 * found.interval.value < found.bias
    assert found.interval.lower <= 0 < found.interval.value < found.interval.upper


def test_what_cannot_be_bounded_is_not() -> None:
    nothing = jackknife(lambda keep: 0.0, [], []).interval
    assert (nothing.n, math.isnan(nothing.value)) == (0, True)
    few = jackknife(lambda keep: float(len(keep)), list(range(8)), [k % 4 for k in range(8)]).interval
    assert (few.value, few.lower, few.upper) == (8, -math.inf, math.inf)
    same = jackknife(lambda keep: 1.0, list(range(50)), list(range(50))).interval
    assert (same.lower, same.upper) == (-math.inf, math.inf)
