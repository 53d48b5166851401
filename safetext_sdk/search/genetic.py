"""A genetic search over the tokens of the free positions, as Ring-A-Bell uses one (arXiv 2310.10012,
algorithm 1).

Each generation keeps the better half; pairs drawn from it are crossed position by position, and some
positions get a fresh token. All prompts' populations are evaluated together.
"""

from __future__ import annotations

import torch

from .objective import Objective
from .problem import Found, Problem, Search


def genetic(
    objective: Objective, problem: Problem, *, generations: int, population: int, mutation: float = 0.25
) -> Found:
    """Search the free positions of all prompts; costs ``population + generations * population // 2`` passes.

    Args:
        generations: how often the worse half is replaced.
        population: rows a prompt, at least 4.
        mutation: probability that a position of a child gets a fresh token.
    """
    if population < 4:
        raise ValueError("a population has at least 4 rows")
    search, draws = Search(objective, problem), problem.draws()
    k, half = problem.free.shape[1], population // 2
    genes = problem.allowed[draws.integers(len(problem.allowed), population, k)]  # [n, population, k]
    rows = problem.filled(genes)
    losses = search.evaluate(rows)
    search.keep(rows, losses)
    for generation in range(generations):
        order = losses.argsort(dim=1)[:, : population - half]
        genes = genes.gather(1, order.unsqueeze(-1).expand(-1, -1, k))
        losses = losses.gather(1, order)
        parents = draws.integers(population - half, 2, half)  # [n, 2, half]
        mother, father = (genes.gather(1, parents[:, i].unsqueeze(-1).expand(-1, -1, k)) for i in (0, 1))
        children = torch.where(draws.uniform(half, k) < 0.5, mother, father)
        fresh = problem.allowed[draws.integers(len(problem.allowed), half, k)]
        children = torch.where(draws.uniform(half, k) < mutation, fresh, children)
        rows = problem.filled(children)
        born = search.evaluate(rows)
        search.keep(rows, born)
        genes, losses = torch.cat([genes, children], 1), torch.cat([losses, born], 1)
        problem.progress(generation + 1, generations)
    return search.found()
