"""Gradients of all prompts at once, for searches that move continuous variables."""

from __future__ import annotations

import torch
from torch import Tensor

from .objective import Differentiable, Slopes, passes_of
from .problem import Search


def slopes_of(search: Search, objective: Differentiable, rows: Tensor) -> Slopes:
    """`Differentiable.slopes` of one row a prompt [n, L], in batches that fit into memory; paid as two passes
    a prompt."""
    free, every = search.problem.free, torch.arange(len(rows), device=rows.device)
    widths = [int(table.shape[1]) for table in objective.tables]

    def work(part: Tensor) -> Tensor:
        got = objective.slopes(rows[part], part, free[part])
        losses = got.losses.view(-1, 1, 1).expand(-1, free.shape[1], 1)
        return torch.cat([losses, *(at for at, _ in got.parts)], dim=-1)

    joined = search.batches.run(work, every, passes_of(objective))
    search.paid(2)
    losses, *gradients = torch.split(joined, [1, *widths], dim=-1)
    return Slopes(losses[:, 0, 0], tuple(zip(gradients, objective.tables, strict=True)))
