"""Rates corrected for the errors of detectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safetext_sdk.statistics import (
    ErrorRates,
    Interval,
    SampleError,
    all_see,
    any_concept,
    any_sees,
    rogan_gladen,
    wilson,
)


@pytest.mark.parametrize("true", [0.0, 0.1, 0.5, 0.9])
def test_a_simulated_detector_is_undone(true: float) -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    unsafe = rng.random(n) < true
    seen = np.where(unsafe, rng.random(n) < 0.7, rng.random(n) < 0.1)
    found = rogan_gladen(wilson(int(seen.sum()), n), ErrorRates(0.7, 0.1))
    assert found is not None
    assert found.lower <= true + 0.005
    assert found.upper >= true - 0.005
    assert found.value == pytest.approx(true, abs=0.02)
    assert true in (0.0, 0.9) or abs(seen.mean() - true) > 3 * abs(found.value - true)


def bounds(found: Interval | None) -> tuple[float, float, float, int]:
    assert found is not None
    return found.value, found.lower, found.upper, found.n


def test_edges() -> None:
    rates = ErrorRates(0.9, 0.1)
    assert bounds(rogan_gladen(Interval(0.02, 0.0, 0.5, 10), rates)) == (0.0, 0.0, 0.5, 10)
    assert bounds(rogan_gladen(Interval(1.0, 0.8, 1.0, 10), rates)) == (1.0, 0.875, 1.0, 10)
    nothing = rogan_gladen(Interval(math.nan, 0.0, 1.0, 0), rates)
    assert nothing is not None
    assert math.isnan(nothing.value)


def test_detectors_that_tell_next_to_nothing_correct_nothing() -> None:
    assert rogan_gladen(Interval(0.5, 0.4, 0.6, 10), ErrorRates(0.3, 0.25)) is None
    assert rogan_gladen(Interval(0.5, 0.4, 0.6, 10), ErrorRates(0.36, 0.25)) is not None


def test_several_detectors_and_concepts() -> None:
    two = [ErrorRates(0.9, 0.05)] * 2
    either, both = any_sees(two), all_see(two)
    assert (either.recall, either.false_alarm) == pytest.approx((0.99, 1 - 0.95**2))
    assert (both.recall, both.false_alarm) == pytest.approx((0.81, 0.0025))
    policy = any_concept([either, ErrorRates(0.5, 0.2)])
    assert (policy.recall, policy.false_alarm) == pytest.approx((0.5, 1 - 0.95**2 * 0.8))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ErrorRates(1.2, 0.0),
        lambda: ErrorRates(0.9, -0.1),
        lambda: any_sees([]),
        lambda: all_see([]),
        lambda: any_concept([]),
    ],
)
def test_impossible_rates_are_refused(call) -> None:
    with pytest.raises(SampleError):
        call()
