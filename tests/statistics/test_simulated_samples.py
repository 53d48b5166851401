"""Simulated samples have the truth that they claim; without that no coverage table means anything."""

from __future__ import annotations

import numpy as np
import pytest

from safetext_sdk.statistics import Design, PairedTruth, SampleError, Truth
from safetext_sdk.statistics.simulate import Shape, simulate_hits, simulate_pairs

SAMPLES = 4000
SHAPES = ("beta", "few")


def variance_of_mean(variance: float, correlation: float, clusters: int, size: int) -> float:
    """Of even clusters with a correlation within."""
    return variance / (clusters * size) * (1 + (size - 1) * correlation)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("rate", "correlation"), [(0.05, 0.0), (0.05, 0.3), (0.2, 0.1), (0.5, 0.3), (0.3, 1.0)]
)
def test_rate_and_correlation(shape: Shape, rate: float, correlation: float) -> None:
    rng = np.random.default_rng(11)
    hits = simulate_hits(Truth(rate, correlation, shape=shape), Design.even(100, 20), SAMPLES, rng)
    means = hits.sum(1) / 100
    expected = variance_of_mean(rate * (1 - rate), correlation, 20, 5)
    assert hits.shape == (SAMPLES, 20)
    assert means.mean() == pytest.approx(rate, abs=4 * np.sqrt(expected / SAMPLES))
    assert means.var() == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize("agree", [0.0, 0.5, 1.0])
def test_seeds_hang_together(agree: float) -> None:
    """Variance of a prompt's mean over 3 seeds: p (1 - p) (1 + 2 r) / 3."""
    design = Design.even(400, 400, 3)
    hits = simulate_hits(Truth(0.3, 0.0, agree), design, 500, np.random.default_rng(12)) / 3
    assert hits.mean() == pytest.approx(0.3, abs=0.01)
    assert hits.var() == pytest.approx(0.21 * (1 + 2 * agree) / 3, rel=0.05)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_certain_rates(rate: float) -> None:
    hits = simulate_hits(Truth(rate, 0.3), Design.even(30, 10, 3), 50, np.random.default_rng(0))
    assert (hits == 9 * rate).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("worse", "better"), [(0.1, 0.0), (0.08, 0.05), (0.02, 0.1), (0.4, 0.6)])
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_paired_shares(shape: Shape, worse: float, better: float, correlation: float) -> None:
    truth = PairedTruth(worse, better, correlation, shape=shape)
    lost, won = simulate_pairs(truth, Design.even(100, 20), SAMPLES, np.random.default_rng(13))
    assert lost.mean() / 5 == pytest.approx(worse, abs=0.012)
    assert won.mean() / 5 == pytest.approx(better, abs=0.012)
    expected = variance_of_mean(worse + better - truth.difference**2, correlation, 20, 5)
    spread = ((lost - won).sum(1) / 100).var()
    # Where every pair moves, "few" has only clusters of one kind: it cannot be less correlated than that.
    assert spread == pytest.approx(expected, rel=0.12) or (shape == "few" and worse + better == 1)


def test_paired_seeds_are_netted() -> None:
    lost, won = simulate_pairs(
        PairedTruth(0.3, 0.3, 0.0, 0.0), Design.even(400, 400, 3), 200, np.random.default_rng(14)
    )
    assert not ((lost > 0) & (won > 0)).any()
    assert (lost - won).mean() == pytest.approx(0, abs=0.03)
    assert ((lost - won) / 3).var() == pytest.approx(0.6 / 3, rel=0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Truth(1.2),
        lambda: Truth(0.1, -0.1),
        lambda: PairedTruth(0.6, 0.6),
        lambda: simulate_hits(Truth(0.1), Design.of(["a", "a", "b"], [0, 0, 1]), 3, np.random.default_rng(0)),
    ],
)
def test_impossible_truths_are_refused(call) -> None:
    with pytest.raises(SampleError):
        call()
