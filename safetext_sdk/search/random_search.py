"""Random search: the baseline of equal cost that stands beside every attack's figure."""

from __future__ import annotations

from .objective import Objective
from .problem import Found, Problem, Search


def random_search(objective: Objective, problem: Problem, *, evaluations: int, width: int = 64) -> Found:
    """The best of ``evaluations`` rows with random tokens at all free positions.

    Args:
        width: rows of a prompt that are evaluated together.
    """
    search, draws = Search(objective, problem), problem.draws()
    k = problem.free.shape[1]
    for start in range(0, evaluations, width):
        count = min(width, evaluations - start)
        rows = problem.filled(problem.allowed[draws.integers(len(problem.allowed), count, k)])
        search.keep(rows, search.evaluate(rows, beat=True))
        problem.progress(start + count, evaluations)
    return search.found()
