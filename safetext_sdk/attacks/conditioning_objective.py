"""An objective for token searches on any model: a goal that is told by the conditioning.

Gradients flow through the family's own ``condition`` from the token embeddings on, so this works wherever the
encoders are torch modules; a goal may go on through the denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..models.embeddings import beginning
from ..models.families import Conditioning, Tokens
from ..search.objective import Slopes, exchange, taken
from .token_rows import TokenRows, embeddings_of


class Goal(Protocol):
    """How far conditioning is from what an attack wants. Differentiable in the conditioning; the loss of a
    row does not depend on the other rows."""

    @property
    def cost(self) -> int:
        """Forward passes of a row beyond the encoder's one."""
        ...

    def far(self, got: Conditioning, tokens: Tokens, prompts: Tensor) -> Tensor:
        """Losses [r].

        Args:
            got: r rows of conditioning.
            tokens: what they were made from.
            prompts: which prompt each row is about [r].
        """
        ...


class BoundedGoal(Goal, Protocol):
    """A goal whose loss is a sum that only grows, so that it can stop early."""

    def far_below(self, got: Conditioning, tokens: Tokens, prompts: Tensor, bound: Tensor) -> Tensor:
        """As `Goal.far` where that is below ``bound`` [r]; elsewhere any value that is not."""
        ...


class ConditioningObjective:
    """See `search.objective.Differentiable`.

    Args:
        rows: the prompts' free words.
        goal: what is wanted.
        owner: the prompt that each of the n templates is about [n]; as many as templates, where absent.
    """

    def __init__(self, rows: TokenRows, goal: Goal, owner: Tensor | None = None) -> None:
        self.rows, self.goal, self.model = rows, goal, rows.model
        every = torch.arange(len(rows.ids), device=rows.ids.device)
        self.owner = every if owner is None else owner.to(every.device)
        self.passes = torch.zeros_like(every)
        """Forward passes of encoder and denoiser for each template [n]; a backward pass counts as one."""

    def stage(self, goal: Goal) -> ConditioningObjective:
        """The same prompts with another goal; passes are counted together."""
        made = ConditioningObjective(self.rows, goal, self.owner)
        made.passes = self.passes
        return made

    @property
    def passes_a_row(self) -> int:
        """Forward passes that a row takes: the encoder's and the goal's."""
        return 1 + self.goal.cost

    @property
    def loss_below(self) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
        """See `search.objective.BoundedObjective`; None where the goal cannot stop early. A row that it stops
        at is counted in full: the budget is that of the search, not of what was saved."""
        far_below: Callable[..., Tensor] | None = getattr(self.goal, "far_below", None)
        if far_below is None:
            return None

        def below(ids: Tensor, prompts: Tensor, bound: Tensor) -> Tensor:
            with torch.no_grad():
                tokens = self.rows.tokens(ids, prompts)
                losses = far_below(self.model.condition(tokens), tokens, self.owner[prompts], bound)
            self._paid(prompts, 1)
            return losses

        return below

    @property
    def tables(self) -> Sequence[Tensor]:
        """See `search.objective.Differentiable.tables`."""
        return [self.rows.table(name) for name in self.rows.shared]

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """See `search.objective.Objective.loss`."""
        with torch.no_grad():
            tokens = self.rows.tokens(ids, prompts)
            losses = self.goal.far(self.model.condition(tokens), tokens, self.owner[prompts])
        self._paid(prompts, 1)
        return losses

    def slopes(self, ids: Tensor, prompts: Tensor, free: Tensor) -> Slopes:
        """See `search.objective.Differentiable.slopes`. ``free`` may be any of the template's positions."""
        tokens = self.rows.tokens(ids, prompts)
        encoders = {name: self.model.encoders[name] for name in self.rows.shared}
        with torch.enable_grad(), embeddings_of(encoders) as looked:
            losses = self.goal.far(self.model.condition(tokens), tokens, self.owner[prompts])
            leaves = [of.values for of in looked.values()]
            gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        # Which of the template's free positions these are: another encoder may have them elsewhere.
        which = (free.unsqueeze(-1) == self.rows.free[prompts].unsqueeze(1)).int().argmax(-1)
        found = dict(zip(looked, gradients, strict=True))
        parts = []
        for name in self.rows.shared:
            table, gradient = self.rows.table(name), found[name]
            places = self.rows.places[name][prompts].gather(1, which)
            at = (
                torch.zeros(*free.shape, table.shape[1], device=ids.device)
                if gradient is None  # nothing of this encoder is read
                else taken(gradient, places - beginning(looked[name].ids, tokens[name]["input_ids"]))
            )
            parts.append((at, table))
        self._paid(prompts, 2)
        return Slopes(losses.detach(), tuple(parts))

    def first_order(self, ids: Tensor, prompts: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
        """See `search.objective.GradientObjective.first_order`."""
        return exchange(self.slopes(ids, prompts, free), ids.gather(1, free), allowed)

    def _paid(self, prompts: Tensor, times: int) -> None:
        seen = torch.bincount(prompts, minlength=len(self.passes))
        self.passes += seen * times * self.passes_a_row
