"""Does a bound cover as often as it says? Measured by simulation, cell by cell.

`TABLE` is the grid that the slow test holds and ``benchmarks/bound_coverage.py`` prints.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from .design_effect import DEFAULT, Design, Settings
from .intervals import FloatArray, wilson_limits
from .paired import paired_limits
from .rates import rate_limits
from .simulate import PairedTruth, Truth, simulate_hits, simulate_pairs


@dataclass(frozen=True)
class Cell:
    """One entry of the coverage table: a truth and an even design."""

    truth: Truth
    clusters: int
    prompts: int
    seeds: int

    @property
    def design(self) -> Design:
        return Design.even(self.prompts, self.clusters, self.seeds)


@dataclass(frozen=True)
class Coverage:
    """What many samples of one truth showed."""

    samples: int
    upper: float
    """Share of samples whose upper bound is at or above the truth."""
    lower: float
    """Share of samples whose lower bound is at or below the truth."""
    passes: float
    """Share of samples that pass a gate ``max`` whose threshold is the truth: proof of something that is not
    so.
    """
    fails: float
    """Share of samples that fail it, although the model is within the threshold."""
    mean_upper: float
    """Mean of the upper bounds."""
    plain_upper: float
    """The same as ``upper`` for Wilson's bound with every picture as a trial of its own (rates only, else
    NaN).
    """
    plain_mean_upper: float
    """Mean of those bounds."""

    def allowed(self, confidence: float = DEFAULT.confidence) -> float:
        """Least coverage that a bound with this confidence shows but for chance: two standard errors of the
        simulation below.
        """
        return confidence - 2 * math.sqrt(confidence * (1 - confidence) / self.samples)

    def holds(self, confidence: float = DEFAULT.confidence) -> bool:
        """Both bounds cover, and neither verdict at the threshold is wrong more often than promised."""
        wrong = 1 - self.allowed(confidence)
        return min(self.upper, self.lower) >= 1 - wrong and max(self.passes, self.fails) <= wrong


def rate_coverage(
    truth: Truth, design: Design, samples: int, rng: np.random.Generator, settings: Settings = DEFAULT
) -> Coverage:
    """Coverage of `rate_bounds`."""
    hits = simulate_hits(truth, design, samples, rng)
    found = rate_limits(hits, design, settings)
    plain = wilson_limits(hits.sum(-1), design.pictures, settings.confidence)[1]
    return _coverage(truth.rate, found.lower, found.upper, plain)


def paired_coverage(
    truth: PairedTruth, design: Design, samples: int, rng: np.random.Generator, settings: Settings = DEFAULT
) -> Coverage:
    """Coverage of `paired_bounds`; "passes" is a comparison whose margin is the true difference."""
    worse, better = simulate_pairs(truth, design, samples, rng)
    found = paired_limits(worse, better, design, settings)
    return _coverage(truth.difference, found.lower, found.upper, np.full(samples, math.nan))


def independent_pairs_coverage(
    bound: Callable[[FloatArray, FloatArray], FloatArray], truth: PairedTruth, pairs: int
) -> float:
    """Coverage of an upper bound on independent pairs, added up over all outcomes instead of simulated.

    Args:
        bound: (pairs that became worse, pairs that became better), arrays of counts -> upper bounds.
        truth: the two shares; its correlations play no part.
        pairs: how many there are.
    """
    worse, better = (x.astype(np.float64).ravel() for x in np.indices((pairs + 1, pairs + 1)))
    possible = worse + better <= pairs
    worse, better = worse[possible], better[possible]
    same = pairs - worse - better
    orders = special.gammaln(pairs + 1) - sum(special.gammaln(x + 1) for x in (worse, better, same))
    stays = max(0.0, 1 - truth.worse - truth.better)
    chance = np.exp(
        orders
        + special.xlogy(worse, truth.worse)
        + special.xlogy(better, truth.better)
        + special.xlogy(same, stays)
    )
    return float(chance[bound(worse, better) >= truth.difference - 1e-12].sum())


def _coverage(truth: float, lower: FloatArray, upper: FloatArray, plain: FloatArray) -> Coverage:
    # A bound that equals the truth but for rounding covers it.
    edge = 1e-12
    missing = bool(np.isnan(plain).any())
    return Coverage(
        samples=len(upper),
        upper=float((upper >= truth - edge).mean()),
        lower=float((lower <= truth + edge).mean()),
        passes=float((upper <= truth - edge).mean()),
        fails=float((lower > truth + edge).mean()),
        mean_upper=float(upper.mean()),
        plain_upper=math.nan if missing else float((plain >= truth).mean()),
        plain_mean_upper=float(plain.mean()),
    )


RATES = (0.01, 0.02, 0.05, 0.2, 0.5)
CLUSTERS = (10, 20, 32, 50)
CORRELATIONS = (0.0, 0.1, 0.3)
PROMPTS = (100, 300)
SEEDS = (1, 3)

TABLE = tuple(
    Cell(Truth(rate, correlation), clusters, prompts, seeds)
    for rate, clusters, correlation, prompts, seeds in itertools.product(
        RATES, CLUSTERS, CORRELATIONS, PROMPTS, SEEDS
    )
)


def table_coverage(cell: Cell, samples: int, seed: int = 0, settings: Settings = DEFAULT) -> Coverage:
    """`rate_coverage` of one cell of `TABLE`, the same whatever other cells are looked at."""
    stream = zlib.crc32(repr(cell).encode())
    return rate_coverage(cell.truth, cell.design, samples, np.random.default_rng([seed, stream]), settings)
