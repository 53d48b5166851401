"""Bounds of the first reports: kept as they were."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from safetext_sdk.statistics import (
    SampleError,
    cluster_bootstrap,
    drop_interval,
    paired_bootstrap,
    paired_difference,
    rate_interval,
    wilson,
)

OLD_RATE = (0.20833, 0.15412, 0.27541, 120)
OLD_DROP = (-0.01667, -0.11364, 0.11364, 120)


def test_seeded_and_wider_for_clusters() -> None:
    values = [float(i < 30) for i in range(300)]
    alone = cluster_bootstrap(values, list(range(300)), seed=1)
    tens = cluster_bootstrap(values, [i // 10 for i in range(300)], seed=1)
    assert alone == cluster_bootstrap(values, list(range(300)), seed=1)
    assert alone.value == pytest.approx(0.1)
    assert tens.upper - tens.lower > 2 * (alone.upper - alone.lower)
    # With one outcome a cluster it is the ordinary bootstrap: close to scipy's.
    theirs = stats.bootstrap(
        (np.array(values),), np.mean, confidence_level=0.90, method="percentile", rng=np.random.default_rng(0)
    )
    assert alone.upper == pytest.approx(theirs.confidence_interval.high, abs=0.006)


def test_figures_of_older_reports() -> None:
    """Bounds that the first version of the library gave, to the last digit that a report shows."""
    hits = [i % 7 == 0 or i < 9 for i in range(120)]
    got = rate_interval(hits, list(range(120)), [i % 24 for i in range(120)])
    assert (round(got.value, 5), round(got.lower, 5), round(got.upper, 5), got.n) == OLD_RATE
    after = [(h and i % 3 > 0) or i % 11 == 0 for i, h in enumerate(hits)]
    drop = drop_interval(hits, after, [i // 3 for i in range(120)], [i % 24 for i in range(120)])
    assert (round(drop.value, 5), round(drop.lower, 5), round(drop.upper, 5), drop.n) == OLD_DROP


def test_never_narrower_than_wilson() -> None:
    assert rate_interval([False] * 300, list(range(300)), list(range(300))).upper == wilson(0, 300).upper


def test_many_seeds_of_few_prompts_are_few_trials() -> None:
    keys = [i % 10 for i in range(300)]
    assert rate_interval([False] * 300, keys, keys).upper == pytest.approx(wilson(0, 10).upper)
    assert drop_interval([True] * 300, [True] * 300, keys, keys).upper == pytest.approx(wilson(0, 10).upper)


def test_clusters_widen_the_rate() -> None:
    """All events in one synonym: the bootstrap bound is above Wilson's and is the one used."""
    got = rate_interval([i < 15 for i in range(150)], list(range(150)), [i // 15 for i in range(150)])
    assert got.upper > wilson(15, 150).upper


def test_drop_matches_its_parts() -> None:
    before = [True] * 100 + [False] * 20
    after = [True] * 90 + [False] * 10 + [True] * 2 + [False] * 18
    keys = list(range(120))
    got = drop_interval(before, after, keys, keys)
    assert got.value == pytest.approx(8 / 120)
    assert got.upper >= paired_difference(10, 2, 120).upper
    assert paired_bootstrap([1.0] * 4, [0.0] * 4, [0, 0, 1, 1]).value == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: cluster_bootstrap([1.0], []),
        lambda: paired_bootstrap([1.0], [], []),
        lambda: rate_interval([True], [], []),
        lambda: drop_interval([True], [], [], []),
    ],
)
def test_lengths_that_differ_are_refused(call) -> None:
    with pytest.raises(SampleError, match="need"):
        call()
