"""Non-inferiority: exact coverage for independent pairs, what a gate against a baseline must not believe."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safetext_sdk.statistics import (
    PairedTruth,
    SampleError,
    clopper_pearson,
    drop_bounds,
    mcnemar_exact,
    paired_bounds,
    paired_difference,
    rate_bounds,
)
from safetext_sdk.statistics.coverage import independent_pairs_coverage
from safetext_sdk.statistics.paired import difference_limits

MARGIN = 0.03


def compare(worse: int, better: int, pairs: int, clusters: int | None = None):
    """The first pairs became worse, the last ones better; cluster = index modulo clusters."""
    keys = list(range(pairs))
    groups = [k % (clusters or pairs) for k in keys]
    return paired_bounds([k < worse for k in keys], [k >= pairs - better for k in keys], keys, groups)


def test_four_of_a_hundred_worse_do_not_pass() -> None:
    assert compare(4, 0, 100).upper == pytest.approx(clopper_pearson(4, 100).upper)
    for worse, better in ((4, 0), (4, 1), (3, 0), (2, 0), (5, 4)):
        assert compare(worse, better, 100).upper > MARGIN
    assert mcnemar_exact(4, 0, alternative="greater") > 0.05, "what the old gate took for a pass"


def test_no_discordant_pair_is_a_finite_bound_and_proof_only_with_enough_pairs() -> None:
    assert compare(0, 0, 100).upper == pytest.approx(clopper_pearson(0, 100).upper)
    assert compare(0, 0, 100).upper <= MARGIN < compare(0, 0, 98).upper
    assert compare(0, 0, 100, clusters=28).upper == pytest.approx(0.055, abs=5e-4)
    assert compare(0, 0, 100, clusters=28).lower == pytest.approx(-0.055, abs=5e-4)


def test_pairs_that_became_better_help_but_not_one_for_one() -> None:
    assert compare(4, 0, 300).upper > compare(4, 4, 300).upper > 0
    assert compare(4, 4, 300).upper > compare(0, 0, 300).upper, "noise is no proof of sameness"
    assert compare(0, 30, 300).upper < 0, "clearly better is proven better"


SHARES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.31, 0.45)


@pytest.mark.parametrize("pairs", [20, 40, 60])
def test_coverage_is_exact_for_independent_pairs(pairs: int) -> None:
    """Added up over every possible outcome: for no shares of worse and better pairs is the bound too low."""

    def ours(worse, better):
        return difference_limits(worse / pairs, better / pairs, pairs)[1]

    covers = [
        independent_pairs_coverage(ours, PairedTruth(p, q), pairs)
        for p, q in itertools.product(SHARES, SHARES)
    ]
    assert min(covers) >= 0.95


def test_the_usual_score_bound_would_not_hold() -> None:
    """The check above can fail: Tango's bound does."""

    def tango(worse, better):
        return np.array(
            [paired_difference(int(b), int(c), 40).upper for b, c in zip(worse, better, strict=True)]
        )

    assert independent_pairs_coverage(tango, PairedTruth(0.01, 0.1), 40) < 0.93


def test_exact_coverage_of_a_bound_that_is_always_one() -> None:
    assert independent_pairs_coverage(
        lambda b, c: np.ones_like(b), PairedTruth(0.2, 0.1), 12
    ) == pytest.approx(1)
    exactly = independent_pairs_coverage(lambda b, c: np.where(b == 3, 1.0, -1.0), PairedTruth(0.2, 0.1), 12)
    assert exactly == pytest.approx(stats.binom.pmf(3, 12, 0.2))


def test_drop_is_what_was_true_before_and_is_not_now() -> None:
    keys = list(range(120))
    before = [k < 100 for k in keys]
    after = [k < 90 or k in (110, 111) for k in keys]
    got = drop_bounds(before, after, keys, keys)
    assert got.value == pytest.approx(8 / 120)
    assert got == paired_bounds([90 <= k < 100 for k in keys], [k in (110, 111) for k in keys], keys, keys)


def test_seeds_of_a_prompt_are_netted_and_add_no_trial() -> None:
    prompts = [i // 3 for i in range(300)]
    still = paired_bounds([False] * 300, [False] * 300, prompts, prompts)
    assert still.upper == pytest.approx(clopper_pearson(0, 100).upper)
    noisy = paired_bounds(
        [i % 3 == 0 for i in range(300)], [i % 3 == 1 for i in range(300)], prompts, prompts
    )
    assert (noisy.value, noisy.upper) == pytest.approx((0.0, still.upper)), (
        "each prompt: one seed worse, one better"
    )
    agreeing = paired_bounds([i < 12 for i in range(300)], [False] * 300, prompts, prompts)
    assert agreeing.upper == pytest.approx(clopper_pearson(4, 100).upper)


def test_losses_in_one_cluster_say_less() -> None:
    keys = list(range(200))
    spread = paired_bounds([k < 10 for k in keys], [False] * 200, keys, [k % 20 for k in keys])
    together = paired_bounds([k % 20 == 0 for k in keys], [False] * 200, keys, [k % 20 for k in keys])
    assert spread.value == together.value
    assert together.upper > spread.upper


def test_clusters_that_move_in_opposite_directions_say_little() -> None:
    """Three of five pairs of each cluster moved: for the worse in half of them, for the better elsewhere."""
    keys = list(range(100))
    groups = [k // 5 for k in keys]
    moved = [k % 5 < 3 for k in keys]
    split = [m and g < 10 for m, g in zip(moved, groups, strict=True)]
    got = paired_bounds(split, [m and not s for m, s in zip(moved, split, strict=True)], keys, groups)
    assert got.evidence is not None
    assert got.evidence.design_effect == pytest.approx((20 / 19) * 20 * 3**2 / 100**2 / (0.6 / 99))


def test_all_worse_and_one_cluster() -> None:
    assert compare(50, 0, 50).upper == 1.0
    assert compare(0, 50, 50).lower == -1.0
    one = paired_bounds([False] * 50, [False] * 50, list(range(50)), ["one"] * 50)
    assert (one.lower, one.upper) == (-1.0, 1.0)
    nothing = paired_bounds([], [], [], [])
    assert math.isnan(nothing.value)
    assert (nothing.lower, nothing.upper, nothing.n) == (-1.0, 1.0, 0)


pairs_found = st.lists(
    st.tuples(st.sampled_from((-1, 0, 1)), st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(pairs_found)
def test_bounds_enclose_the_difference_and_mirror(found: list[tuple[int, int, int]]) -> None:
    moved, prompts, clusters = (list(column) for column in zip(*found, strict=True))
    worse, better = [m > 0 for m in moved], [m < 0 for m in moved]
    got, flipped = (paired_bounds(*sides, prompts, clusters) for sides in ((worse, better), (better, worse)))
    assert -1 <= got.lower <= got.value + 1e-12
    assert got.value <= got.upper + 1e-12 <= 1 + 2e-12
    assert (-flipped.upper, -flipped.lower) == pytest.approx((got.lower, got.upper), abs=1e-9)
    if not any(better):
        assert got.upper == pytest.approx(rate_bounds(worse, prompts, clusters).upper, abs=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: paired_bounds([True], [], ["a"], ["x"]),
        lambda: paired_bounds([True], [True], ["a"], ["x"]),
        lambda: drop_bounds([True], [], ["a"], ["x"]),
        lambda: paired_difference(3, 3, 5),
        lambda: mcnemar_exact(-1, 2),
        lambda: mcnemar_exact(1, 2, alternative="less"),
    ],
)
def test_wrong_input_is_refused(call) -> None:
    with pytest.raises(SampleError):
        call()


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 5), (3, 9), (12, 12)])
def test_mcnemar_by_enumeration(b: int, c: int) -> None:
    n = b + c
    greater = sum(math.comb(n, k) for k in range(b, n + 1)) / 2**n
    assert mcnemar_exact(b, c, alternative="greater") == pytest.approx(greater)
    assert mcnemar_exact(b, c) == pytest.approx(
        min(1.0, 2 * min(greater, 1 - greater + math.comb(n, b) / 2**n))
    )


@pytest.mark.parametrize(("b", "c", "n"), [(8, 2, 100), (0, 0, 44), (1, 0, 100), (0, 6, 80), (12, 1, 50)])
def test_tango_solves_its_equation(b: int, c: int, n: int) -> None:
    """The score statistic at each bound equals the normal quantile."""
    z = stats.norm.ppf(0.95)
    got = paired_difference(b, c, n)
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


def test_tango_bounds_are_ordered() -> None:
    for b, c in itertools.product(range(0, 12, 3), repeat=2):
        got = paired_difference(b, c, 30)
        assert -1 <= got.lower <= got.value <= got.upper <= 1


def test_tango_covers_independent_pairs() -> None:
    """The one-sided upper bound holds in about 95 % of simulated experiments."""
    rng = np.random.default_rng(3)
    p_lost, p_won, n = 0.04, 0.02, 150
    held = 0
    for _ in range(400):
        lost, won, _same = rng.multinomial(n, [p_lost, p_won, 1 - p_lost - p_won])
        held += paired_difference(int(lost), int(won), n).upper >= p_lost - p_won
    assert 0.91 <= held / 400 <= 0.99
