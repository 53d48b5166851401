"""A bandit: every free position learns which of its tokens did well, from the loss of whole rows alone.

For black-box attacks with few queries. An arm is a token at a position; each round draws rows by Thompson
sampling (a normal belief about every arm's mean loss, wide where it was seldom tried), evaluates them
together and updates the arms that took part.
"""

from __future__ import annotations

import torch

from .objective import Objective
from .problem import Found, Problem, Search


def bandit(
    objective: Objective, problem: Problem, *, rounds: int, width: int, arms: int = 64, noise: float = 1.0
) -> Found:
    """Search the free positions of all prompts; costs ``rounds * width`` passes.

    Args:
        rounds: how often beliefs are updated.
        width: rows evaluated a round.
        arms: tokens that each position can choose from, drawn from ``problem.allowed`` for each prompt.
        noise: standard deviation that a belief starts with, in units of the losses' own spread in the first
            round.
    """
    search, draws = Search(objective, problem), problem.draws()
    n, k = problem.free.shape
    arms = min(arms, len(problem.allowed))
    shuffled = draws.uniform(k, len(problem.allowed)).argsort(-1)[..., :arms]
    tokens = problem.allowed[shuffled]  # [n, k, arms]
    total, count = (torch.zeros(n, k, arms, device=problem.ids.device) for _ in range(2))
    centre = search.start.view(n, 1, 1)
    scale = torch.zeros_like(centre)
    for step in range(rounds):
        mean = (total + centre) / (count + 1)
        belief = mean.unsqueeze(1) + draws.normal(width, k, arms) * (
            noise * scale / (count + 1).sqrt()
        ).unsqueeze(1)
        # Without a spread yet every belief is equal: the first round draws at random.
        choice = draws.integers(arms, width, k) if step == 0 else belief.argmin(-1)  # [n, width, k]
        rows = problem.filled(tokens.gather(2, choice.transpose(1, 2)).transpose(1, 2))
        losses = search.evaluate(rows)
        search.keep(rows, losses)
        known = losses.isfinite()
        seen = torch.where(known, losses, 0.0)
        if step == 0:
            heard = known.sum(1).clamp_min(1)
            centre = (seen.sum(1) / heard).view(n, 1, 1)
            spread = torch.where(known, (losses - centre[..., 0]).square(), 0.0).sum(1) / heard
            scale = spread.sqrt().view(n, 1, 1)
        slots = choice.transpose(1, 2)  # [n, k, width]
        total.scatter_add_(2, slots, seen.unsqueeze(1).expand(-1, k, -1))
        count.scatter_add_(2, slots, known.float().unsqueeze(1).expand(-1, k, -1))
        problem.progress(step + 1, rounds)
    return search.found()
