"""Descent on a relaxed choice of tokens: every free position holds a distribution over the allowed tokens.

As UnlearnDiffAtk searches (Zhang et al., arXiv 2310.11868, section 4 and its published code): tokens are
drawn from the distributions, the gradient by their one-hot choice (clipped to [-1, 1]) moves the
distributions with Adam, and each is projected back onto the simplex. At the end of every stage the
likeliest tokens are evaluated exactly.

Prompts do not meet: Adam works element by element, and the loss of a batch is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .objective import Differentiable, Objective
from .problem import Found, Problem, Search
from .stages import slopes_of


def relaxed_descent(
    objective: Objective,
    stages: Sequence[Differentiable],
    problem: Problem,
    *,
    steps: int,
    rate: float = 1e-2,
    decay: float = 0.1,
    every: int | None = None,
) -> Found:
    """Search the free positions of all prompts.

    Args:
        objective: what is wanted; tells the best of the stages' ends.
        stages: what is descended, one after the other (the denoiser at one timestep after the other).
        steps: gradients a stage.
        rate: step size of Adam.
        decay: its L2 penalty on the weights of tokens.
        every: steps of a stage between two exact evaluations; None: at its end alone, as published.
    """
    search, draws = Search(objective, problem), problem.draws()
    n, k = problem.free.shape
    weights = torch.full((n, k, len(problem.allowed)), 1 / len(problem.allowed), device=problem.ids.device)
    optimizer = torch.optim.Adam([weights], lr=rate, weight_decay=decay)
    for stage, here in enumerate(stages):
        for step in range(steps):
            place = torch.searchsorted(
                weights.cumsum(-1), draws.uniform(k, 1) * weights.sum(-1, keepdim=True)
            )
            drawn = problem.allowed[place.squeeze(-1).clamp_max(len(problem.allowed) - 1)]
            slopes = slopes_of(search, here, problem.filled(drawn.unsqueeze(1))[:, 0])
            weights.grad = slopes.of_tokens(problem.allowed).clamp(-1, 1).to(weights.dtype)
            optimizer.step()
            weights.data = onto_simplex(weights)
            if (step + 1) % (every or steps) == 0 or step + 1 == steps:
                rows = problem.filled(problem.allowed[weights.argmax(-1)].unsqueeze(1))
                search.keep(rows, search.evaluate(rows, beat=True))
            problem.progress(stage * steps + step + 1, len(stages) * steps)
    return search.found()


def onto_simplex(values: Tensor) -> Tensor:
    """The nearest distributions (Euclidean) to ``values`` [..., c].

    Duchi et al. 2008, figure 1: the published bisection finds the same point to five digits.
    """
    ordered = values.sort(dim=-1, descending=True).values
    count = torch.arange(1, values.shape[-1] + 1, device=values.device)
    surplus = (ordered.cumsum(-1) - 1) / count
    last = (ordered > surplus).sum(-1, keepdim=True) - 1
    return (values - surplus.gather(-1, last)).clamp_min(0)
