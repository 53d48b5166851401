"""What a search is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .batches import Batches
from .draws import Draws
from .objective import GradientObjective, Objective

Accept = Callable[[Tensor, Tensor], Tensor]
"""(rows of token ids [r, L], which prompt each is about [r]) -> [r] bool: is it a text that a user could
type?"""
Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""


@dataclass(frozen=True)
class Problem:
    """n prompts with free positions.

    Attributes:
        ids: token ids to start from [n, L] int64, padding and special tokens included.
        free: positions whose token may change [n, k] int64; the same number for all prompts.
        allowed: tokens that may be put there [c] int64.
        seeds: one a prompt, of its random choices.
        accept: rows that it refuses are never chosen; None takes every row.
        at_once: rows evaluated together; halved by itself where memory runs out.
        progress: told after every step.
    """

    ids: Tensor
    free: Tensor
    allowed: Tensor
    seeds: tuple[int, ...]
    accept: Accept | None = None
    at_once: int = 256
    progress: Progress = lambda done, total: None

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.free.ndim != 2 or self.allowed.ndim != 1:
            raise ValueError("ids are [n, L], free is [n, k], allowed is [c]")
        if not len(self.ids) == len(self.free) == len(self.seeds):
            raise ValueError(
                f"{len(self.ids)} prompts, {len(self.free)} rows of positions, {len(self.seeds)} seeds"
            )
        if len(self.allowed) == 0 or self.free.shape[1] == 0:
            raise ValueError("nothing to search: no token is allowed, or no position is free")

    def draws(self) -> Draws:
        """The random numbers of a search, from their beginning."""
        return Draws(self.seeds, self.ids.device)

    def filled(self, tokens: Tensor) -> Tensor:
        """Rows with ``tokens`` [n, m, k] at the free positions: [n, m, L]."""
        rows = self.ids.unsqueeze(1).repeat(1, tokens.shape[1], 1)
        return rows.scatter(2, self.free.unsqueeze(1).expand_as(tokens), tokens)


@dataclass(frozen=True)
class Found:
    """The best row of every prompt.

    Attributes:
        ids: [n, L]; the start where nothing better was found.
        losses: objective of ``ids`` [n].
        start: objective of the start [n].
        forward_passes: rows sent through the objective for each prompt [n]; a gradient counts as two.
    """

    ids: Tensor
    losses: Tensor
    start: Tensor
    forward_passes: Tensor


@dataclass
class Search:
    """The state that all searches share: the best row so far, and what it cost. Not for keeping."""

    objective: Objective
    problem: Problem
    batches: Batches = field(init=False)
    best: Tensor = field(init=False)
    losses: Tensor = field(init=False)
    passes: Tensor = field(init=False)
    start: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.batches = Batches(self.problem.at_once)
        self.best = self.problem.ids.clone()
        self.passes = torch.zeros(len(self.best), dtype=torch.int64, device=self.best.device)
        start = self._exact(self.best, torch.arange(len(self.best), device=self.best.device))
        self.losses, self.start = start.clone(), start

    def evaluate(self, rows: Tensor) -> Tensor:
        """Exact objective of candidate rows [n, m, L]: [n, m], infinite where a row is refused (and not
        paid)."""
        n, m, length = rows.shape
        flat = rows.reshape(n * m, length)
        owner = torch.arange(n, device=rows.device).repeat_interleave(m)
        out = torch.full((n * m,), torch.inf, device=rows.device)
        accept = self.problem.accept
        index = (
            torch.arange(n * m, device=rows.device) if accept is None else accept(flat, owner).nonzero()[:, 0]
        )
        if len(index):
            out[index] = self._exact(flat[index], owner[index])
        return out.view(n, m)

    def keep(self, rows: Tensor, losses: Tensor) -> Tensor:
        """Take the best candidate of each prompt where it beats what there is. rows [n, m, L], losses [n, m];
        returns which prompts got better [n]."""
        low, which = losses.min(1)
        better = low < self.losses
        chosen = rows.gather(1, which.view(-1, 1, 1).expand(-1, 1, rows.shape[2])).squeeze(1)
        self.best = torch.where(better.unsqueeze(1), chosen, self.best)
        self.losses = torch.where(better, low, self.losses)
        return better

    def changes(self, objective: GradientObjective, free: Tensor) -> Tensor:
        """`GradientObjective.first_order` of the best rows at positions ``free`` [n, k]: [n, k, c]; paid as
        two passes a prompt."""
        allowed = self.problem.allowed
        every = torch.arange(len(self.best), device=self.best.device)
        self.paid(2)
        return self.batches.run(
            lambda part: objective.first_order(self.best[part], part, free[part], allowed), every
        )

    def paid(self, passes: int) -> None:
        """Count passes of every prompt that `evaluate` did not see (gradients)."""
        self.passes += passes

    def found(self) -> Found:
        return Found(self.best, self.losses, self.start, self.passes)

    def _exact(self, rows: Tensor, owner: Tensor) -> Tensor:
        every = torch.arange(len(rows), device=rows.device)
        losses = self.batches.run(
            lambda part: self.objective.loss(rows[part], owner[part]).detach().float(), every
        )
        self.passes += torch.bincount(owner, minlength=len(self.passes))
        return losses
