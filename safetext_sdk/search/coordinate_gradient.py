"""Greedy coordinate gradient (Zou et al. 2023, arXiv 2307.15043, algorithm 1), batched over prompts and
candidates.

The gradient ranks tokens for every free position; candidates with one position changed, drawn from the best
ranks, are evaluated exactly; the best of them replaces the prompt if it is better. (The paper replaces it in
any case; keeping the better one never ends worse and needs no second pass over the history.)
"""

from __future__ import annotations

from .objective import GradientObjective
from .problem import Found, Problem, Search


def coordinate_gradient(
    objective: GradientObjective, problem: Problem, *, steps: int, candidates: int, top: int = 64
) -> Found:
    """Search the free positions of all prompts.

    Args:
        steps: gradients taken a prompt.
        candidates: rows evaluated exactly a step.
        top: best-ranked tokens of a position that candidates are drawn from.
    """
    search, draws = Search(objective, problem), problem.draws()
    k, top = problem.free.shape[1], min(top, len(problem.allowed))
    for step in range(steps):
        change = search.changes(objective)
        ranked = problem.allowed[change.topk(top, dim=-1, largest=False).indices]  # [n, k, top]
        slot, rank = draws.integers(k, candidates), draws.integers(top, candidates)  # [n, candidates]
        token = ranked.flatten(1).gather(1, slot * top + rank)
        rows = search.best.unsqueeze(1).repeat(1, candidates, 1)
        rows.scatter_(2, problem.free.gather(1, slot).unsqueeze(-1), token.unsqueeze(-1))
        search.keep(rows, search.evaluate(rows, beat=True))
        problem.progress(step + 1, steps)
    return search.found()
