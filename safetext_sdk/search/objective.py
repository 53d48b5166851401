"""What is searched for: an objective of token ids, and its first-order change where it has gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Embeddings = list[Tensor]
"""Token embeddings [r, L, d], one tensor a table: encoders that share a vocabulary differ in width."""


class Objective(Protocol):
    """A loss of token ids; smaller is nearer to what the search wants."""

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """Exact loss of rows.

        Args:
            ids: [r, L] int64.
            prompts: [r] int64: which of the n prompts each row is about.
        Returns:
            [r], no gradient needed.
        """
        ...


class GradientObjective(Objective, Protocol):
    """An objective that can also say, to first order, what another token would change."""

    def first_order(self, ids: Tensor, prompts: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
        """Estimated change of the loss if the token at a free position became another.

        Args:
            ids: [r, L]; prompts: [r]; free: positions [r, k]; allowed: tokens [c].
        Returns:
            [r, k, c]: gradient times (embedding of the candidate - embedding of the present token).
        """
        ...


class EmbeddingObjective:
    """Both, for a loss that is differentiable in token embeddings.

    Args:
        tables: embedding tables [V, d], one for each encoder that reads the ids.
        loss_of: (embeddings [r, L, d] a table, ids [r, L], prompts [r]) -> [r]; differentiable in the
            embeddings, and the loss of a row must not depend on the other rows.
    """

    def __init__(
        self, tables: Sequence[Tensor], loss_of: Callable[[Embeddings, Tensor, Tensor], Tensor]
    ) -> None:
        self.tables = [table.detach() for table in tables]
        self.loss_of = loss_of

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """See `Objective.loss`."""
        with torch.no_grad():
            return self.loss_of([table[ids] for table in self.tables], ids, prompts)

    def first_order(self, ids: Tensor, prompts: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
        """See `GradientObjective.first_order`."""
        embeddings = [table[ids].requires_grad_(True) for table in self.tables]
        with torch.enable_grad():
            total = self.loss_of(embeddings, ids, prompts).sum()
            gradients = torch.autograd.grad(total, embeddings)
        change = torch.zeros(*free.shape, len(allowed), device=ids.device)
        for table, gradient in zip(self.tables, gradients, strict=True):
            change += exchange(gradient, table, ids, free, allowed)
        return change


def exchange(gradient: Tensor, table: Tensor, ids: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
    """What a gradient by token embeddings says about other tokens.

    Args:
        gradient: of the loss by the embeddings [r, L, d]; table: [V, d].
        ids: the present tokens [r, L]; free: positions [r, k]; allowed: tokens [c].
    Returns:
        Gradient times (candidate - present) [r, k, c].
    """
    at = gradient.gather(1, free.unsqueeze(-1).expand(-1, -1, gradient.shape[-1])).float()  # [r, k, d]
    now = (at * table[ids.gather(1, free)].float()).sum(-1, keepdim=True)  # [r, k, 1]
    return at @ table[allowed].float().T - now


def in_parts(
    objective: GradientObjective, ids: Tensor, free: Tensor, allowed: Tensor, at_once: int
) -> Tensor:
    """`GradientObjective.first_order` of one row a prompt [n, L], a few prompts at a time: [n, k, c]."""
    step, parts = max(1, at_once), []
    for start in range(0, len(ids), step):
        index = torch.arange(start, min(start + step, len(ids)), device=ids.device)
        parts.append(objective.first_order(ids[index], index, free[index], allowed))
    return torch.cat(parts)
