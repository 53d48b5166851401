"""A bandit: every free position learns which of its tokens did well, from the loss of whole rows alone.

For black-box attacks with few queries. An arm is a token at a position; each round draws rows by Thompson
sampling (a normal belief about every arm's mean loss, wide where it was seldom tried), evaluates them
together and updates the arms that took part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .objective import Objective
from .problem import Found, Problem, Search


def bandit(
    objective: Objective,
    problem: Problem,
    *,
    evaluations: int,
    width: int,
    arms: int = 64,
    noise: float = 1.0,
) -> Found:
    """Search the free positions of all prompts; costs ``evaluations`` passes beside that of the start.

    Args:
        evaluations: rows evaluated in all.
        width: rows of a round, after which beliefs are updated; the last round has what is left.
        arms: tokens that each position can choose from, drawn from ``problem.allowed`` for each prompt.
        noise: standard deviation that a belief starts with, in units of the losses' own spread in the first
            round, or up to the first one that has any.
    """
    search, draws = Search(objective, problem), problem.draws()
    n, k = problem.free.shape
    arms = min(arms, len(problem.allowed))
    shuffled = draws.uniform(k, len(problem.allowed)).argsort(-1)[..., :arms]
    tokens = problem.allowed[shuffled]  # [n, k, arms]
    total, count = (torch.zeros(n, k, arms, device=problem.ids.device) for _ in range(2))
    centre = search.start.view(n, 1, 1)
    scale = torch.zeros_like(centre)
    past: list[Tensor] = []  # losses of all rounds, while some prompt has no spread
    for begin in range(0, evaluations, width):
        size = min(width, evaluations - begin)
        mean = (total + centre) / (count + 1)
        normal = draws.normal(size, k, arms)
        belief = mean.unsqueeze(1) + normal * (noise * scale / (count + 1).sqrt()).unsqueeze(1)
        # Where all losses were alike so far there is nothing to believe: arms are drawn at random.
        belief = torch.where((scale == 0).unsqueeze(1), normal, belief)
        choice = draws.integers(arms, size, k) if begin == 0 else belief.argmin(-1)  # [n, size, k]
        rows = problem.filled(tokens.gather(2, choice.transpose(1, 2)).transpose(1, 2))
        losses = search.evaluate(rows)
        search.keep(rows, losses)
        known = losses.isfinite()
        seen = torch.where(known, losses, 0.0)
        if bool((scale == 0).any()):
            past.append(losses)
            first, spread = centred(torch.cat(past, 1))
            centre = torch.where(scale == 0, first.view(n, 1, 1), centre)
            scale = torch.where(scale == 0, spread.view(n, 1, 1), scale)
        slots = choice.transpose(1, 2)  # [n, k, size]
        total.scatter_add_(2, slots, seen.unsqueeze(1).expand(-1, k, -1))
        count.scatter_add_(2, slots, known.float().unsqueeze(1).expand(-1, k, -1))
        problem.progress(begin + size, evaluations)
    return search.found()


def centred(losses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [n] of the finite losses [n, m]; a deviation of exactly 0 where all are
    alike, whatever rounding makes of their mean."""
    known = losses.isfinite()
    heard = known.sum(1).clamp_min(1)
    mean = torch.where(known, losses, 0.0).sum(1) / heard
    far = torch.where(known, (losses - mean.unsqueeze(1)).square(), 0.0).sum(1) / heard
    alike = losses.masked_fill(~known, -torch.inf).amax(1) <= losses.masked_fill(~known, torch.inf).amin(1)
    return mean, far.sqrt().masked_fill(alike, 0.0)
