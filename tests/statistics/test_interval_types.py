"""Bounds of independent shares against scipy and statsmodels."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest
from scipy import stats

from safetext_sdk.errors import UsageError
from safetext_sdk.statistics import Evidence, SampleError, clopper_pearson, wilson
from safetext_sdk.statistics.intervals import clopper_pearson_limits, wilson_limits

COUNTS = [(0, 50), (0, 100), (1, 100), (0, 300), (7, 20), (20, 20), (130, 300), (1, 1)]


@pytest.mark.parametrize("name", ["intervals", "rates", "paired", "means", "power", "correction"])
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"safetext_sdk.statistics.{name}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize(("method", "ours"), [("wilson", wilson), ("exact", clopper_pearson)])
def test_an_end_of_the_two_sided_90_percent_interval(k: int, n: int, method: str, ours) -> None:
    theirs = stats.binomtest(k, n).proportion_ci(0.90, method=method)
    got = ours(k, n)
    assert (got.lower, got.upper) == pytest.approx((theirs.low, theirs.high), abs=1e-10)
    assert (got.value, got.n) == (k / n, n)


@pytest.mark.parametrize(("method", "limits"), [("beta", clopper_pearson_limits), ("wilson", wilson_limits)])
def test_fractions_and_arrays_are_those_of_statsmodels(method: str, limits) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    x = np.array([0.0, 0.4, 1.5, 10.0, 52.9])
    n = np.array([53.0, 10.2, 61.0, 20.0, 53.0])
    low, high = proportion.proportion_confint(x, n, alpha=0.1, method=method)
    assert limits(x, n)[0] == pytest.approx(low, abs=1e-9)
    assert limits(x, n)[1] == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("bound", [wilson, clopper_pearson])
def test_nothing_measured_is_nothing_known(bound) -> None:
    nothing = bound(0, 0)
    assert (nothing.lower, nothing.upper, nothing.n) == (0.0, 1.0, 0)
    assert math.isnan(nothing.value)


@pytest.mark.parametrize("bound", [wilson, clopper_pearson])
@pytest.mark.parametrize("count", [(3, 2), (-1, 4), (0, -1)])
def test_impossible_counts_are_refused(bound, count: tuple[int, int]) -> None:
    with pytest.raises(SampleError, match="is not a rate"):
        bound(*count)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0, 95, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(SampleError, match="confidence"):
        wilson(1, 10, confidence)
    with pytest.raises(SampleError, match="confidence"):
        clopper_pearson(1, 10, confidence)


def test_a_wrong_sample_is_a_usage_error_with_one_line() -> None:
    with pytest.raises(UsageError) as caught:
        wilson(3, 2)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_evidence_counts_one_as_one() -> None:
    assert (
        Evidence(1, 1, 1, 1.0, 1.0, 0.3).text()
        == "1 picture of 1 prompt in 1 cluster, worth 1 independent prompts"
    )
