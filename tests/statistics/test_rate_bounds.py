"""The bound that a gate rests on: figures of the design page, what counts as evidence, what widens it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safetext_sdk.statistics import SampleError, Settings, clopper_pearson, rate_bounds, wilson


def bound(outcomes: list[bool], clusters: int, seeds: int = 1, assumed: Settings = Settings()):  # noqa: B008
    """Prompt i is in cluster i modulo clusters; the seeds of a prompt stand together."""
    prompts = [i // seeds for i in range(len(outcomes))]
    return rate_bounds(outcomes, prompts, [p % clusters for p in prompts], assumed)


@pytest.mark.parametrize(
    ("prompts", "clusters", "proven"), [(100, 28, 0.055), (150, 28, 0.048), (300, 300, 0.010)]
)
def test_what_no_hit_proves(prompts: int, clusters: int, proven: float) -> None:
    assert bound([False] * prompts, clusters).upper == pytest.approx(proven, abs=5e-4)
    assert bound([True] * prompts, clusters).lower == pytest.approx(1 - proven, abs=5e-4)


def test_independent_prompts_are_clopper_pearson() -> None:
    got, plain = bound([i < 7 for i in range(120)], 120), clopper_pearson(7, 120)
    assert (got.value, got.lower, got.upper) == pytest.approx((plain.value, plain.lower, plain.upper))


def test_evidence_is_told() -> None:
    got = bound([False] * 300, 28, seeds=3)
    assert got.n == 300
    assert got.evidence is not None
    assert (got.evidence.pictures, got.evidence.prompts, got.evidence.clusters) == (300, 100, 28)
    assert got.evidence.assumed_correlation == 0.3
    assert got.evidence.effective == pytest.approx(53, abs=0.1)
    assert got.evidence.text() == "300 pictures of 100 prompts in 28 clusters, worth 53 independent prompts"


def test_more_seeds_of_a_prompt_prove_no_more() -> None:
    assert bound([False] * 900, 28, seeds=9).upper == pytest.approx(bound([False] * 100, 28).upper)
    agreeing = bound([i < 90 for i in range(900)], 28, seeds=9)
    assert agreeing.upper == pytest.approx(bound([i < 10 for i in range(100)], 28).upper)


def test_a_hit_in_one_of_three_seeds_is_a_third_of_a_hit() -> None:
    none, third, one = (
        bound([i in hits for i in range(300)], 100, seeds=3).upper for hits in ((), (0,), (0, 1, 2))
    )
    assert none < third < one
    assert one == pytest.approx(clopper_pearson(1, 100).upper)


def test_hits_in_one_cluster_say_less_than_hits_everywhere() -> None:
    spread = bound([i < 20 for i in range(200)], 20)
    together = bound([i % 20 < 2 for i in range(200)], 20)
    assert spread.value == together.value == 0.1
    assert together.upper > spread.upper
    assert together.lower < spread.lower


def test_the_floor_counts_where_the_data_are_silent() -> None:
    trusting, default, strict = (
        bound([False] * 100, 20, assumed=Settings(assumed_correlation=c)).upper for c in (0, 0.3, 1)
    )
    assert trusting < default < strict
    # 20 clusters of prompts that always agree are 20 trials, less for so few degrees of freedom.
    trials = 20 * (stats.t.ppf(0.95, 99) / stats.t.ppf(0.95, 19)) ** 2
    assert strict == pytest.approx(1 - 0.05 ** (1 / trials))


def test_wider_than_an_optimistic_bound() -> None:
    for hits in (0, 3, 30, 150):
        got, plain = bound([i < hits for i in range(300)], 30), wilson(hits, 300)
        assert got.upper > plain.upper
        assert got.lower <= plain.lower


def test_one_cluster_proves_nothing() -> None:
    got = rate_bounds([False] * 500, list(range(500)), ["one"] * 500)
    assert (got.lower, got.upper) == (0.0, 1.0)


def test_nothing_measured() -> None:
    got = rate_bounds([], [], [])
    assert math.isnan(got.value)
    assert (got.lower, got.upper, got.n, got.evidence) == (0.0, 1.0, 0, None)


@pytest.mark.parametrize(
    ("outcomes", "prompts", "clusters"),
    [
        ([True], [], []),
        ([True], ["a"], []),
        ([2.0], ["a"], ["x"]),
        ([math.nan], ["a"], ["x"]),
        ([-0.1], ["a"], ["x"]),
    ],
)
def test_wrong_input_is_refused(outcomes: list[float], prompts: list[str], clusters: list[str]) -> None:
    with pytest.raises(SampleError):
        rate_bounds(outcomes, prompts, clusters)


samples = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(samples)
def test_bounds_enclose_the_rate_and_mirror(found: list[tuple[bool, int, int]]) -> None:
    hits, prompts, clusters = (list(column) for column in zip(*found, strict=True))
    got = rate_bounds(hits, prompts, clusters)
    assert 0 <= got.lower <= got.value <= got.upper <= 1
    flipped = rate_bounds([not hit for hit in hits], prompts, clusters)
    assert (1 - flipped.upper, 1 - flipped.lower) == pytest.approx((got.lower, got.upper), abs=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(samples)
def test_the_order_of_rows_does_not_matter(found: list[tuple[bool, int, int]]) -> None:
    one, other = (rate_bounds(*zip(*rows, strict=True)) for rows in (found, sorted(found)))
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), abs=1e-9)
