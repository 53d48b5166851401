"""Made-up samples with a known truth, for tests, benchmarks and plans.

A cluster draws its own rate around the true one, its prompts draw from that, and the seeds of a prompt partly
repeat its first outcome. Two ways to draw a cluster's rate with a given intra-cluster correlation: ``"beta"``
(every synonym a little different) and ``"few"`` (most synonyms never hit, the others often: what a hardening
that forgot a synonym looks like). Sums of clusters are drawn directly, so that thousands of samples take
milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .design_effect import Design
from .intervals import FloatArray, SampleError

Shape = Literal["beta", "few"]


@dataclass(frozen=True)
class Truth:
    """A true rate and how outcomes hang together.

    Raises:
        SampleError: something is outside 0 to 1.
    """

    rate: float
    correlation: float = 0.0
    """Of two prompts of a cluster."""
    seed_correlation: float = 0.5
    """Of two seeds of a prompt, beyond that of the cluster."""
    shape: Shape = "beta"

    def __post_init__(self) -> None:
        if not all(0 <= x <= 1 for x in (self.rate, self.correlation, self.seed_correlation)):
            raise SampleError(f"a rate and its correlations are between 0 and 1: {self}")


@dataclass(frozen=True)
class PairedTruth:
    """True shares of pairs that become worse and better, and how pairs hang together.

    ``shape`` ``"beta"`` draws a cluster's two shares from a Dirichlet distribution; with ``"few"`` a cluster
    only ever becomes worse, or only better, or stays.

    Raises:
        SampleError: something is outside 0 to 1, or the shares exceed 1 together.
    """

    worse: float
    better: float
    correlation: float = 0.0
    """Of the differences of two prompts of a cluster."""
    seed_correlation: float = 0.5
    shape: Shape = "beta"

    def __post_init__(self) -> None:
        shares = (self.worse, self.better, self.worse + self.better)
        if not all(0 <= x <= 1 for x in (*shares, self.correlation, self.seed_correlation)):
            raise SampleError(f"shares and their correlations are between 0 and 1: {self}")

    @property
    def difference(self) -> float:
        return self.worse - self.better


def simulate_hits(truth: Truth, design: Design, samples: int, rng: np.random.Generator) -> FloatArray:
    """Hits of each cluster over its pictures, [samples, clusters].

    Raises:
        SampleError: prompts have different numbers of seeds.
    """
    seeds = _seeds(design)
    shape = (samples, design.clusters)
    rate = _cluster_rates(truth, shape, rng)
    prompts = np.bincount(design.cluster_of, minlength=design.clusters)
    latent = rng.binomial(prompts, rate)
    if seeds == 1:
        return latent.astype(np.float64)
    # A seed repeats its prompt's latent outcome with probability r and draws its own otherwise: correlation r
    # * r.
    repeat = float(np.sqrt(truth.seed_correlation))
    repeated_hits = rng.binomial(latent * seeds, repeat)
    repeated_misses = rng.binomial((prompts - latent) * seeds, repeat)
    fresh = prompts * seeds - repeated_hits - repeated_misses
    return (repeated_hits + rng.binomial(fresh, rate)).astype(np.float64)


def _cluster_rates(truth: Truth, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    p, rho = truth.rate, truth.correlation
    if p in (0.0, 1.0) or rho == 0:
        return np.full(shape, p)
    if truth.shape == "few" or rho == 1:
        height = p + rho * (1 - p)
        return np.where(rng.random(shape) < p / height, height, 0.0)
    strength = 1 / rho - 1
    return rng.beta(p * strength, (1 - p) * strength, shape)


def simulate_pairs(
    truth: PairedTruth, design: Design, samples: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Net losses and net gains of each cluster over its pictures, as `paired_limits` takes them, twice
    [samples, clusters].

    Raises:
        SampleError: prompts have different numbers of seeds.
    """
    seeds = _seeds(design)
    worse, better = (x[:, design.cluster_of] for x in _cluster_shares(truth, (samples, design.clusters), rng))

    def outcome() -> FloatArray:
        drawn = rng.random(worse.shape)
        return np.where(drawn < worse, 1.0, np.where(drawn < worse + better, -1.0, 0.0))

    latent = outcome()
    net = latent
    if seeds > 1:
        repeat = float(np.sqrt(truth.seed_correlation))
        pictures = (np.where(rng.random(latent.shape) < repeat, latent, outcome()) for _ in range(seeds))
        net = np.add.reduce(list(pictures)) / seeds
    member = np.zeros((design.prompts, design.clusters))
    member[np.arange(design.prompts), design.cluster_of] = seeds
    return np.maximum(net, 0) @ member, np.maximum(-net, 0) @ member


def _cluster_shares(
    truth: PairedTruth, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    p, q, rho = truth.worse, truth.better, truth.correlation
    moved = p + q
    if rho == 0 or moved == 0:
        return np.full(shape, p), np.full(shape, q)
    if truth.shape == "few" or rho == 1:
        # Clusters of one kind: share moved / height of them, of which each moves in one direction at the rate
        # height.
        square = truth.difference**2
        height = min(1.0, max(moved, (rho * (moved - square) + square) / moved))
        drawn = rng.random(shape)
        return (
            np.where(drawn < p / height, height, 0.0),
            np.where((drawn >= p / height) & (drawn < moved / height), height, 0.0),
        )
    strength = 1 / rho - 1
    total = rng.beta(moved * strength, (1 - moved) * strength, shape) if moved < 1 else np.ones(shape)
    part = rng.beta(p * strength, q * strength, shape) if p and q else np.full(shape, float(p > 0))
    return total * part, total * (1 - part)


def _seeds(design: Design) -> int:
    weights = design.prompt_weights
    if weights.min() != weights.max():
        raise SampleError("a simulated sample has the same number of seeds for every prompt")
    return int(weights[0])
