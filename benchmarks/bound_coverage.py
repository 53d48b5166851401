"""How often do the bounds of the gate cover, and how much wider are they than optimistic ones? In markdown.

    python benchmarks/bound_coverage.py                    # every table, a few minutes on one core
    python benchmarks/bound_coverage.py --samples 1000     # a quick look

Seeded: the same arguments print the same figures. A coverage is the share of simulated samples whose
one-sided 95 % bound holds. Exits with 1 if a cell of the first table falls short of 95 % by more than two
standard errors of the simulation.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import special

from safetext_sdk.statistics import Design, PairedTruth, Truth, mean_bounds, paired_difference, perfect_bound
from safetext_sdk.statistics.coverage import (
    CLUSTERS,
    CORRELATIONS,
    PROMPTS,
    RATES,
    SEEDS,
    TABLE,
    Coverage,
    independent_pairs_coverage,
    paired_coverage,
    rate_coverage,
    table_coverage,
)
from safetext_sdk.statistics.intervals import FloatArray, clopper_pearson_limits, wilson_limits
from safetext_sdk.statistics.paired import difference_limits
from safetext_sdk.statistics.rates import rate_limits
from safetext_sdk.statistics.simulate import Shape, simulate_hits

SKEWED = ((40, *[3] * 20), (20, 20, 10, 10, *[5] * 8), tuple(range(1, 25)))
"""Clusters of very different sizes: 100 to 300 prompts."""
DISTANCES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "normal": lambda z: z,
    "lognormal, sigma 0.5 (skewness 1.8)": lambda z: np.exp(0.5 * z),
    "exponential (skewness 2)": lambda z: -special.log_ndtr(-z),
    "9 of 10 values are 0": lambda z: np.where(z > special.ndtri(0.9), 1 + 0.1 * z, 0.0),
    "lognormal, sigma 1 (skewness 6.2)": lambda z: np.exp(z),
}
"""Values of a metric that is no share, from standard normal ones."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """One markdown table."""
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def worst(found: Coverage) -> float:
    """The bound that covers less often."""
    return min(found.upper, found.lower)


Key = tuple[int, int, int, float, float]
"""Prompts, seeds, clusters, rate, correlation."""


def measured(samples: int) -> dict[Key, Coverage]:
    """Every cell of the table that the slow test holds."""
    return {
        (c.prompts, c.seeds, c.clusters, c.truth.rate, c.truth.correlation): table_coverage(c, samples)
        for c in TABLE
    }


def coverage_table(found: dict[Key, Coverage]) -> None:
    """Coverage of the lesser bound in every cell."""
    some = next(iter(found.values()))
    slack = 0.95 - some.allowed()
    print(
        f"## Rates: coverage of the lesser of the two bounds, {some.samples} samples a cell (±{slack:.2%})\n"
    )
    for seeds in SEEDS:
        kinds = list(itertools.product(PROMPTS, CORRELATIONS))
        heads = (f"{n} prompts x {seeds}, corr. {c:g}" for n, c in kinds)
        rows = (
            (f"{r:.0%}", str(k), *(f"{worst(found[n, seeds, k, r, c]):.1%}" for n, c in kinds))
            for r, k in itertools.product(RATES, CLUSTERS)
        )
        table(("rate", "clusters", *heads), rows)
    passes, fails = max(f.passes for f in found.values()), max(f.fails for f in found.values())
    print(f"A model at the threshold passes in at most {passes:.1%} of samples and fails in {fails:.1%}.\n")


def width_table(found: dict[Key, Coverage]) -> None:
    """How wide the bound is beside an optimistic one."""
    print("## Rates: mean upper bound / the same of Wilson with every picture as a trial (its coverage)\n")
    for c in (min(CORRELATIONS), max(CORRELATIONS)):
        rows = []
        for n, s, k in itertools.product(PROMPTS, SEEDS, CLUSTERS):
            cells = (found[n, s, k, rate, c] for rate in RATES)
            widths = (f"{f.mean_upper:.1%} / {f.plain_mean_upper:.1%} ({f.plain_upper:.0%})" for f in cells)
            rows.append((f"{n} x {s}", str(k), *widths))
        table(("prompts x seeds", "clusters", *(f"rate {r:.0%}, corr. {c:g}" for r in RATES)), rows)


def beyond_table(samples: int) -> None:
    """Least coverage where the truth is not as the table's."""
    rng = np.random.default_rng(1)
    cells = [cell for cell in TABLE if cell.truth.correlation == max(CORRELATIONS)]
    found = {
        "a few clusters hit often, the others never (corr. 0.3)": [
            rate_coverage(replace(c.truth, shape="few"), c.design, samples, rng) for c in cells
        ],
        "clusters of very different sizes (corr. 0 to 0.3)": [
            rate_coverage(Truth(rate, c), Design.of_sizes(sizes, seeds), samples, rng)
            for rate, c, sizes, seeds in itertools.product(RATES, CORRELATIONS, SKEWED, SEEDS)
        ],
        "seeds of a prompt always agree (corr. 0.3)": [
            rate_coverage(replace(c.truth, seed_correlation=1.0), c.design, samples, rng)
            for c in cells
            if c.seeds > 1
        ],
        "the threshold is what a perfect model proves (corr. 0 to 0.3)": [
            rate_coverage(Truth(1.001 * perfect_bound(design), c), design, samples, rng)
            for design in (Design.even(n, k) for n in PROMPTS for k in (*CLUSTERS, n))
            for c in CORRELATIONS
        ],
        "correlation 0.5, above the assumed 0.3": [
            rate_coverage(replace(c.truth, correlation=0.5), c.design, samples, rng) for c in cells
        ],
        "correlation 0.8, above the assumed 0.3": [
            rate_coverage(replace(c.truth, correlation=0.8), c.design, samples, rng) for c in cells
        ],
    }
    print("## Rates: least coverage of either bound over other truths\n")
    table(
        ("truth", "cells", "upper", "lower"),
        (
            (name, str(len(f)), f"{min(x.upper for x in f):.1%}", f"{min(x.lower for x in f):.1%}")
            for name, f in found.items()
        ),
    )


def seeds_table(samples: int) -> None:
    """What three seeds of a prompt may count as."""
    rng = np.random.default_rng(2)
    single, design = Design.even(100, 32, 1), Design.even(100, 32, 3)
    rows = []
    for rate, agree in itertools.product((0.02, 0.05, 0.2), (0.0, 0.5, 1.0)):
        hits = simulate_hits(Truth(rate, 0.3, agree), design, samples, rng)
        apart = Design(np.arange(design.pictures), design.cluster_of[design.prompt_of])
        # "Any" of three seeds of a prompt whose seeds agree to this degree: its own, higher, rate.
        repeat = np.sqrt(agree)
        draws = rng.random((200_000, 3))
        latent = rng.random((200_000, 1)) < rate
        fresh = rng.random((200_000, 3)) < rate
        any_rate = float(np.where(draws < repeat, latent, fresh).any(1).mean())
        any_hits = simulate_hits(Truth(any_rate, 0.3), single, samples, rng)
        bounds = [
            rate_limits(hits, design).upper,
            rate_limits(any_hits, single).upper,
            rate_limits(hits, apart).upper,
            wilson_limits(hits.sum(-1), design.pictures)[1],
        ]
        rows.append(
            (f"{rate:.0%}", f"{agree:g}", *(f"{b.mean():.1%} ({(b >= rate).mean():.1%})" for b in bounds))
        )
    print(
        "## Three seeds of 100 prompts in 32 clusters, corr. 0.3: mean upper bound (coverage of the rate)\n"
    )
    head = ("rate", "seeds agree", "mean of the seeds (ours)", "any seed", "seeds as prompts", "plain Wilson")
    table(head, rows)


def perfect_table() -> None:
    """What no hit at all proves."""
    print("## What a perfect model proves\n")
    clusters = (10, 20, 28, 32, 50, 75, 100, 300)
    table(
        ("prompts", *(f"{k} clusters" for k in clusters)),
        (
            (str(n), *(f"{perfect_bound(Design.even(n, k)):.2%}" if k <= n else "" for k in clusters))
            for n in (50, 100, 150, 200, 300, 600, 1000)
        ),
    )


def paired_tables(samples: int) -> None:
    """Exact coverage for independent pairs, then clustered pairs by simulation."""
    shares = (0.0, 0.006, 0.01, 0.02, 0.03, 0.037, 0.05, 0.075, 0.12, 0.2, 0.3, 0.4)
    truths = [PairedTruth(p, q) for p, q in itertools.product(shares, shares) if p > 0]
    print("## Pairs: least coverage of the upper bound for independent pairs, added up over all outcomes\n")
    rows = []
    for n in (30, 100, 200):

        def ours(b: FloatArray, c: FloatArray, n: int = n) -> FloatArray:
            return difference_limits(b / n, c / n, n)[1]

        def halves(b: FloatArray, c: FloatArray, n: int = n) -> FloatArray:
            return clopper_pearson_limits(b, n, 0.975)[1] - clopper_pearson_limits(c, n, 0.975)[0]

        @cache
        def tango(b: float, c: float, n: int = n) -> float:
            return paired_difference(int(b), int(c), n).upper

        def score(b: FloatArray, c: FloatArray, tango: Callable[[float, float], float] = tango) -> FloatArray:
            return np.array([tango(*pair) for pair in zip(b.tolist(), c.tolist(), strict=True)])

        bounds = (ours, halves, score)
        least = (min(independent_pairs_coverage(bound, t, n) for t in truths) for bound in bounds)
        rows.append((str(n), *(f"{x:.1%}" for x in least)))
    table(("pairs", "ours", "two bounds at 97.5 %", "Tango's score"), rows)
    rng = np.random.default_rng(3)
    ties: tuple[tuple[float, Shape], ...] = ((0.0, "beta"), (0.1, "beta"), (0.3, "beta"), (0.3, "few"))
    kinds = [PairedTruth(p, q) for p, q in ((0.03, 0), (0.05, 0.02), (0.08, 0.05), (0.01, 0.01), (0.2, 0.17))]
    print(
        f"## Pairs: coverage of the lesser bound, {samples} samples a cell; mean upper bound at corr. 0.3\n"
    )
    rows = []
    for truth, clusters in itertools.product(kinds, CLUSTERS):
        cells = [
            paired_coverage(
                replace(truth, correlation=c, shape=shape), Design.even(n, clusters, s), samples, rng
            )
            for n, s in itertools.product(PROMPTS, SEEDS)
            for c, shape in ties
        ]
        covers = [
            f"{min(worst(f) for f in cells[k : k + 4]):.1%} (to {cells[k + 2].mean_upper:.1%})"
            for k in (0, 4, 8, 12)
        ]
        rows.append((f"{truth.worse:.0%} worse, {truth.better:.0%} better", str(clusters), *covers))
    heads = (f"{n} prompts, {s} seed{'s' * (s > 1)}" for n, s in itertools.product(PROMPTS, SEEDS))
    table(("truth", "clusters", *heads), rows)


def means_table(samples: int) -> None:
    """Coverage of the bound of a mean, for values with longer and longer tails."""
    rng = np.random.default_rng(4)
    print(f"## Means: coverage of the upper / lower bound, {samples} samples a cell\n")
    designs = ((100, 10), (100, 28), (300, 50), (100, 100))
    rows = []
    for name, make in DISTANCES.items():
        true = float(make(special.ndtri((np.arange(10**6) + 0.5) / 10**6)).mean())
        row = [name]
        for (prompts, clusters), c in itertools.product(designs, (0.0, 0.3)):
            design = Design.even(prompts, clusters)
            keys, groups = range(prompts), design.cluster_of.tolist()
            shared = rng.standard_normal((samples, clusters))[:, design.cluster_of]
            values = make(np.sqrt(c) * shared + np.sqrt(1 - c) * rng.standard_normal((samples, prompts)))
            found = [mean_bounds(v, keys, groups) for v in values.tolist()]
            upper, lower = (
                np.mean(x) for x in ([f.upper >= true for f in found], [f.lower <= true for f in found])
            )
            row.append(f"{upper:.1%} / {lower:.1%}")
        rows.append(row)
    heads = (
        f"{n} prompts, {k} clusters, corr. {c:g}" for (n, k), c in itertools.product(designs, (0.0, 0.3))
    )
    table(("values", *heads), rows)


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000, help="simulated samples a cell (at least 1000)")
    samples = max(1000, parser.parse_args().samples)
    found = measured(samples)
    coverage_table(found)
    width_table(found)
    beyond_table(samples)
    seeds_table(samples)
    perfect_table()
    paired_tables(samples // 4)
    means_table(samples // 8)
    sys.exit(0 if all(f.holds() for f in found.values()) else 1)


if __name__ == "__main__":
    main()
