"""Statistics against scipy and brute force."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from safetext_sdk.validation import statistics as s


def test_doctests() -> None:
    result = doctest.testmod(s)
    assert result.attempted >= 4
    assert result.failed == 0


@pytest.mark.parametrize(("k", "n"), [(0, 50), (0, 100), (1, 100), (0, 300), (7, 20), (20, 20), (130, 300)])
def test_wilson_is_scipy_two_sided_90(k: int, n: int) -> None:
    """A one-sided 95 % bound is an end of the two-sided 90 % interval."""
    ours, theirs = s.wilson(k, n), stats.binomtest(k, n).proportion_ci(0.90, method="wilson")
    assert ours.lower == pytest.approx(theirs.low, abs=1e-12)
    assert ours.upper == pytest.approx(theirs.high, abs=1e-12)


def test_wilson_of_nothing_knows_nothing() -> None:
    nothing = s.wilson(0, 0)
    assert (nothing.lower, nothing.upper, nothing.n) == (0.0, 1.0, 0)
    assert math.isnan(nothing.value)
    with pytest.raises(ValueError, match="not a rate"):
        s.wilson(3, 2)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (3, 9), (12, 12)])
def test_mcnemar_by_enumeration(b: int, c: int) -> None:
    n = b + c
    greater = sum(math.comb(n, k) for k in range(b, n + 1)) / 2**n
    assert s.mcnemar_exact(b, c, alternative="greater") == pytest.approx(greater)
    assert s.mcnemar_exact(b, c) == pytest.approx(
        min(1.0, 2 * min(greater, 1 - greater + math.comb(n, b) / 2**n))
    )


def test_tango_published_example() -> None:
    """Tango 1998, table 3 style check: the statistic at each bound equals the normal quantile."""
    z = stats.norm.ppf(0.95)
    for b, c, n in [(8, 2, 100), (0, 0, 44), (1, 0, 100), (0, 6, 80), (12, 1, 50)]:
        got = s.paired_difference(b, c, n)
        assert got.lower <= got.value <= got.upper
        for bound, sign in ((got.upper, -1), (got.lower, 1)):
            # Restricted maximum likelihood by grid search, independent of the closed form.
            q = np.linspace(1e-9, 1, 200_001)
            p = q + bound
            ok = (p > 0) & (p + q < 1)
            q, p = q[ok], p[ok]
            likelihood = b * np.log(p) + c * np.log(q) + (n - b - c) * np.log1p(-p - q)
            best = q[int(likelihood.argmax())]
            variance = n * (2 * best + bound * (1 - bound))
            assert (b - c - n * bound) / math.sqrt(variance) == pytest.approx(sign * z, rel=2e-2)


def test_tango_covers() -> None:
    """The one-sided upper bound holds in about 95 % of simulated experiments."""
    rng = np.random.default_rng(3)
    p_lost, p_won, n = 0.04, 0.02, 150
    held = 0
    for _ in range(400):
        lost, won, _same = rng.multinomial(n, [p_lost, p_won, 1 - p_lost - p_won])
        held += s.paired_difference(int(lost), int(won), n).upper >= p_lost - p_won
    assert 0.91 <= held / 400 <= 0.99


def test_cluster_bootstrap_is_seeded_and_wider_for_clusters() -> None:
    values = [float(i < 30) for i in range(300)]
    alone = s.cluster_bootstrap(values, list(range(300)), seed=1)
    tens = s.cluster_bootstrap(values, [i // 10 for i in range(300)], seed=1)
    assert alone == s.cluster_bootstrap(values, list(range(300)), seed=1)
    assert alone.value == pytest.approx(0.1)
    assert tens.upper - tens.lower > 2 * (alone.upper - alone.lower)
    # With one outcome a cluster it is the ordinary bootstrap: close to scipy's.
    theirs = stats.bootstrap(
        (np.array(values),), np.mean, confidence_level=0.90, method="percentile", rng=np.random.default_rng(0)
    )
    assert alone.upper == pytest.approx(theirs.confidence_interval.high, abs=0.006)


def test_rate_interval_never_narrower_than_wilson() -> None:
    outcomes = [False] * 300
    got = s.rate_interval(outcomes, list(range(300)), list(range(300)))
    assert got.upper == pytest.approx(s.wilson(0, 300).upper)


def test_many_seeds_of_few_prompts_are_few_trials() -> None:
    few = s.rate_interval([False] * 300, [i % 10 for i in range(300)], [i % 10 for i in range(300)])
    assert few.upper == pytest.approx(s.wilson(0, 10).upper)
    drop = s.drop_interval(
        [True] * 300, [True] * 300, [i % 10 for i in range(300)], [i % 10 for i in range(300)]
    )
    assert drop.upper == pytest.approx(s.wilson(0, 10).upper)


def test_clusters_widen_the_rate() -> None:
    """All events in one synonym: the bootstrap bound is above Wilson and is the one used."""
    outcomes = [i < 15 for i in range(150)]
    got = s.rate_interval(outcomes, list(range(150)), [i // 15 for i in range(150)])
    assert got.upper > s.wilson(15, 150).upper


def test_drop_interval_matches_parts() -> None:
    before = [True] * 100 + [False] * 20
    after = [True] * 90 + [False] * 10 + [True] * 2 + [False] * 18
    keys = list(range(120))
    got = s.drop_interval(before, after, keys, keys)
    assert got.value == pytest.approx(8 / 120)
    assert got.upper >= s.paired_difference(10, 2, 120).upper
    assert s.paired_bootstrap([1.0] * 4, [0.0] * 4, [0, 0, 1, 1]).value == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: s.cluster_bootstrap([1.0], []),
        lambda: s.paired_bootstrap([1.0], [], []),
        lambda: s.paired_difference(3, 3, 5),
    ],
)
def test_mismatched_input_raises(call) -> None:
    with pytest.raises(ValueError, match=r"need|impossible"):
        call()


def test_bounds_are_ordered_everywhere() -> None:
    for b, c in itertools.product(range(0, 12, 3), repeat=2):
        got = s.paired_difference(b, c, 30)
        assert -1 <= got.lower <= got.value <= got.upper <= 1
