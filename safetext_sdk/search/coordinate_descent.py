"""Coordinate descent: one position at a time, all tokens ranked linearly, the best ranks evaluated exactly.

After RECORD's idea (candidates are ranked by the linear model that one gradient gives, then evaluated; the
authors published no code). Positions are visited in sweeps of a random order. Unlike the coordinate gradient,
which spreads its candidates over all positions, a position is settled before the next one is looked at; so it
needs fewer passes where positions hardly depend on each other.
"""

from __future__ import annotations

from .objective import GradientObjective
from .problem import Found, Problem, Search


def coordinate_descent(
    objective: GradientObjective, problem: Problem, *, steps: int, candidates: int
) -> Found:
    """Search the free positions of all prompts.

    Args:
        steps: positions visited a prompt; ``k`` of them make a sweep.
        candidates: best-ranked tokens that are evaluated exactly at each visit.
    """
    search, draws = Search(objective, problem), problem.draws()
    k, candidates = problem.free.shape[1], min(candidates, len(problem.allowed))
    for step in range(steps):
        if step % k == 0:
            order = draws.uniform(k).argsort(dim=1)
        slot = order[:, step % k : step % k + 1]  # [n, 1]
        place = problem.free.gather(1, slot)
        every = search.changes(objective)  # [n, k, c]
        change = every.gather(1, slot.unsqueeze(-1).expand(-1, -1, every.shape[2]))[:, 0]
        token = problem.allowed[change.topk(candidates, dim=-1, largest=False).indices]  # [n, candidates]
        rows = search.best.unsqueeze(1).repeat(1, candidates, 1)
        rows.scatter_(2, place.unsqueeze(1).expand(-1, candidates, -1), token.unsqueeze(-1))
        search.keep(rows, search.evaluate(rows, beat=True))
        problem.progress(step + 1, steps)
    return search.found()
