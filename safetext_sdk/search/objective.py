"""What is searched for: an objective of token ids, and its first-order change where it has gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


class BoundedObjective(Objective, Protocol):
    """An objective that can stop early at rows that cannot win."""

    def loss_below(self, ids: Tensor, prompts: Tensor, bound: Tensor) -> Tensor:
        """As `Objective.loss` where that is below ``bound`` [r]; elsewhere any value that is not: a part of a
        sum that has passed the bound says enough."""
        ...


def bounded(objective: Objective) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """`BoundedObjective.loss_below`, where the objective has it."""
    below: Callable[[Tensor, Tensor, Tensor], Tensor] | None = getattr(objective, "loss_below", None)
    return below


def passes_of(objective: Objective) -> int:
    """Forward passes that a row takes: what the objective says as ``passes_a_row``, else one."""
    return int(getattr(objective, "passes_a_row", 1))


@dataclass(frozen=True)
class Slopes:
    """Losses and their gradients by the embeddings of the free positions.

    Attributes:
        losses: [r].
        parts: (gradient [r, k, d], embedding table [V, d]) of every encoder that reads the free tokens.
    """

    losses: Tensor
    parts: tuple[tuple[Tensor, Tensor], ...]

    def of_tokens(self, allowed: Tensor) -> Tensor:
        """Gradient by the one-hot choice of a token [r, k, c]."""
        return torch.stack([at @ table[allowed].to(at.dtype).T for at, table in self.parts]).sum(0)


class Differentiable(GradientObjective, Protocol):
    """An objective that gives gradients by the embeddings themselves, for searches that move those."""

    @property
    def tables(self) -> Sequence[Tensor]:
        """Embedding tables [V, d] of the encoders that read the free tokens."""
        ...

    def slopes(self, ids: Tensor, prompts: Tensor, free: Tensor) -> Slopes:
        """Losses and gradients at rows of tokens; arguments as in `GradientObjective.first_order`."""
        ...


class EmbeddingObjective:
    """All of them, for a loss that is differentiable in token embeddings.

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
        return exchange(self.slopes(ids, prompts, free), ids.gather(1, free), allowed)

    def slopes(self, ids: Tensor, prompts: Tensor, free: Tensor) -> Slopes:
        """See `Differentiable.slopes`."""
        embeddings = [table[ids].requires_grad_(True) for table in self.tables]
        with torch.enable_grad():
            losses = self.loss_of(embeddings, ids, prompts)
            gradients = torch.autograd.grad(losses.sum(), embeddings)
        at = [taken(gradient, free) for gradient in gradients]
        return Slopes(losses.detach(), tuple(zip(at, self.tables, strict=True)))


def taken(values: Tensor, positions: Tensor) -> Tensor:
    """``values`` [r, L, d] at ``positions`` [r, k]: [r, k, d]."""
    return values.gather(1, positions.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def exchange(slopes: Slopes, present: Tensor, allowed: Tensor) -> Tensor:
    """What gradients by token embeddings say about other tokens: gradient times (candidate - present).

    Args:
        present: tokens at the free positions [r, k]; allowed: tokens [c].
    Returns:
        [r, k, c].
    """
    now = [(at * table[present].to(at.dtype)).sum(-1, keepdim=True) for at, table in slopes.parts]
    return slopes.of_tokens(allowed) - torch.stack(now).sum(0)
