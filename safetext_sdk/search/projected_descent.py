"""Descent on continuous embeddings that are projected to the nearest tokens wherever they are read.

As P4D searches (Chin et al., arXiv 2309.06135, after PEZ, Wen et al., arXiv 2302.03668, algorithm 1): the
gradient is taken at the projected tokens and applied to the continuous embeddings. Every few steps the
projected tokens are evaluated exactly, and the best are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .objective import Differentiable, Objective
from .problem import Found, Problem, Search
from .stages import slopes_of


def projected_descent(
    objective: Objective,
    stages: Sequence[Differentiable],
    problem: Problem,
    *,
    steps: int,
    rate: float = 0.1,
    decay: float = 0.1,
    every: int = 50,
) -> Found:
    """Search the free positions of all prompts, from random tokens on.

    Args:
        objective: what is wanted; tells the best of the projections.
        stages: what is descended, in turn, one a step (the denoiser at changing timesteps).
        steps: gradients in all.
        rate: step size of Adam.
        decay: its decoupled weight decay, as in both published codes (AdamW). As a part of the gradient it
            would be divided by that gradient's own size and pull the embeddings to zero.
        every: steps between two exact evaluations.
    """
    search, draws = Search(objective, problem), problem.draws()
    tables = [table for here in stages[:1] for table in here.tables]
    first = problem.allowed[draws.integers(len(problem.allowed), problem.free.shape[1])]  # [n, k]
    soft = [table[first].detach().float().clone() for table in tables]
    optimizer = torch.optim.AdamW(soft, lr=rate, weight_decay=decay)
    for step in range(steps):
        tokens = nearest(soft, tables, problem.allowed)
        slopes = slopes_of(search, stages[step % len(stages)], problem.filled(tokens.unsqueeze(1))[:, 0])
        for values, (gradient, _) in zip(soft, slopes.parts, strict=True):
            values.grad = gradient.float()
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            rows = problem.filled(nearest(soft, tables, problem.allowed).unsqueeze(1))
            search.keep(rows, search.evaluate(rows, beat=True))
        problem.progress(step + 1, steps)
    return search.found()


def nearest(soft: Sequence[Tensor], tables: Sequence[Tensor], allowed: Tensor) -> Tensor:
    """The allowed tokens whose embeddings have the greatest cosine, summed over tables, to ``soft`` [n, k,
    d]: [n, k]."""
    likeness = [
        F.normalize(values, dim=-1) @ F.normalize(table[allowed].float(), dim=-1).T
        for values, table in zip(soft, tables, strict=True)
    ]
    return allowed[torch.stack(likeness).sum(0).argmax(-1)]
