"""Bounds cover what they say: a sample of cells always, the whole table on request (``-m slow``).

The table in markdown: ``benchmarks/bound_coverage.py``.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from safetext_sdk.statistics import Design, PairedTruth, Settings, Truth, perfect_bound
from safetext_sdk.statistics.coverage import TABLE, Cell, paired_coverage, rate_coverage, table_coverage
from safetext_sdk.statistics.simulate import Shape

FAST, SLOW = 1000, 4000

CELLS = [
    Cell(Truth(rate, correlation), clusters, prompts, seeds)
    for rate, correlation, clusters, prompts, seeds in (
        (0.01, 0.3, 10, 300, 1),
        (0.01, 0.0, 50, 100, 1),
        (0.02, 0.3, 10, 100, 3),
        (0.02, 0.1, 32, 300, 1),
        (0.05, 0.3, 20, 300, 3),
        (0.05, 0.1, 50, 100, 1),
        (0.2, 0.3, 50, 100, 1),
        (0.2, 0.3, 32, 300, 1),
        (0.5, 0.3, 20, 300, 1),
        (0.5, 0.0, 50, 100, 1),
    )
]


def test_the_table_is_the_one_that_was_promised() -> None:
    assert len(TABLE) == 5 * 4 * 3 * 2 * 2
    assert set(CELLS) < set(TABLE)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cells(cell: Cell) -> None:
    found = table_coverage(cell, FAST)
    assert found.holds(), found


@pytest.mark.slow
def test_every_cell() -> None:
    found = {cell: table_coverage(cell, SLOW) for cell in TABLE}
    assert not [(cell, f) for cell, f in found.items() if not f.holds()]
    # The price: the mean upper bound is above the optimistic one everywhere, and never absurd.
    ratios = [f.mean_upper / f.plain_mean_upper for f in found.values()]
    assert min(ratios) > 1
    assert max(f.mean_upper - cell.truth.rate for cell, f in found.items()) < 0.21


def cheated(rate: float, correlation: float, clusters: int, prompts: int, settings: Settings) -> float:
    rng = np.random.default_rng(1)
    return rate_coverage(Truth(rate, correlation), Design.even(prompts, clusters), FAST, rng, settings).upper


def test_the_check_sees_a_bound_that_trusts_its_estimate() -> None:
    assert cheated(0.02, 0.3, 10, 300, Settings(assumed_correlation=0.0)) < 0.8
    assert cheated(0.02, 0.3, 10, 300, Settings()) > 0.97


def test_the_check_sees_an_optimistic_bound() -> None:
    found = table_coverage(Cell(Truth(0.01, 0.3), 10, 300, 3), FAST)
    assert found.plain_upper < 0.45
    assert found.upper > 0.97


def test_at_what_a_perfect_model_proves_the_bound_is_tight_and_holds() -> None:
    """The hardest threshold: any rate just above it is missed by every sample without a hit."""
    for prompts, clusters, correlation in ((100, 100, 0.0), (100, 28, 0.3), (300, 50, 0.1)):
        design = Design.even(prompts, clusters)
        truth = Truth(1.001 * perfect_bound(design), correlation)
        found = rate_coverage(truth, design, SLOW, np.random.default_rng(2))
        assert found.holds(), (prompts, clusters, found)


def test_clusters_of_very_different_sizes() -> None:
    for sizes, rate in itertools.product(([40] + [3] * 20, list(range(1, 25))), (0.02, 0.2)):
        found = rate_coverage(Truth(rate, 0.3), Design.of_sizes(sizes), FAST, np.random.default_rng(3))
        assert found.holds(), (sizes, rate, found)


def test_a_few_synonyms_that_were_forgotten() -> None:
    for cell in CELLS:
        if cell.truth.correlation:
            truth = replace(cell.truth, shape="few")
            found = rate_coverage(truth, cell.design, FAST, np.random.default_rng(4))
            assert found.holds(), (cell, found)


SHAPES: tuple[Shape, ...] = ("beta", "few")
PAIRS = [(0.03, 0.0), (0.05, 0.02), (0.08, 0.05), (0.01, 0.01), (0.2, 0.17)]


@pytest.mark.parametrize(("worse", "better"), PAIRS)
def test_pairs(worse: float, better: float) -> None:
    for (prompts, clusters, seeds), correlation in itertools.product(
        ((100, 20, 1), (150, 50, 3)), (0.0, 0.3)
    ):
        truth = PairedTruth(worse, better, correlation)
        found = paired_coverage(truth, Design.even(prompts, clusters, seeds), FAST, np.random.default_rng(5))
        assert found.holds(), (truth, prompts, clusters, seeds, found)


@pytest.mark.slow
@pytest.mark.parametrize(("worse", "better"), PAIRS)
def test_every_pair_cell(worse: float, better: float) -> None:
    rng = np.random.default_rng(6)
    cells = itertools.product((100, 300), (10, 20, 32, 50), (1, 3), (0.0, 0.1, 0.3), SHAPES)
    for prompts, clusters, seeds, correlation, shape in cells:
        truth = PairedTruth(worse, better, correlation, shape=shape)
        found = paired_coverage(truth, Design.even(prompts, clusters, seeds), FAST, rng)
        assert found.holds(), (truth, prompts, clusters, seeds, found)


def test_a_cell_gives_the_same_figures_alone_and_in_the_table() -> None:
    cell = TABLE[17]
    assert table_coverage(cell, 200) == table_coverage(cell, 200)
    assert table_coverage(cell, 200) != table_coverage(cell, 200, seed=1)
