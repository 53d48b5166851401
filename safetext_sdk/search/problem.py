"""What a search is given and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .batches import Batches
from .draws import Draws
from .objective import GradientObjective, Objective, bounded, passes_of

Accept = Callable[[Tensor, Tensor], Tensor]
"""(rows of token ids [r, L], which prompt each is about [r]) -> [r] bool: is it a text that a user could
type?"""
Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""
Key = int | tuple[int, ...]
"""What a row is remembered by."""
KNOWN = 4096
"""Rows of a prompt that a search remembers, on average, before it forgets all."""


@dataclass(frozen=True)
class Problem:
    """n prompts with free positions.

    Attributes:
        ids: token ids to start from [n, L] int64, padding and special tokens included.
        free: positions whose token may change [n, k] int64; the same number for all prompts.
        allowed: tokens that may be put there [c] int64.
        seeds: one a prompt, of its random choices.
        accept: rows that it refuses are never chosen; None takes every row.
        at_once: forward passes made together; halved by itself where memory runs out.
        exhaustive: compute every row and every gradient to its end, those too whose answer is known or cannot
            matter. What is found is the same: the yardstick of tests and of the speed benchmark.
        progress: told after every step.
    """

    ids: Tensor
    free: Tensor
    allowed: Tensor
    seeds: tuple[int, ...]
    accept: Accept | None = None
    at_once: int = 256
    exhaustive: bool = False
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
        forward_passes: rows that the objective was asked about [n]; a gradient counts as two.
        spared: the objective's forward passes [n] that were not made, because the answer was known.
    """

    ids: Tensor
    losses: Tensor
    start: Tensor
    forward_passes: Tensor
    spared: Tensor


@dataclass
class Search:
    """The state that all searches share: the best row so far, and what it cost. Not for keeping.

    No row is computed twice, nor the gradient of a row that did not change: candidates are drawn with
    replacement, and a search that has settled draws the same ones again and again.
    """

    objective: Objective
    problem: Problem
    batches: Batches = field(init=False)
    best: Tensor = field(init=False)
    losses: Tensor = field(init=False)
    passes: Tensor = field(init=False)
    spared: Tensor = field(init=False)
    start: Tensor = field(init=False)
    _known: dict[Key, float | None] = field(init=False, default_factory=dict)
    _changes: tuple[Tensor, Tensor] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.batches = Batches(self.problem.at_once)
        self.best = self.problem.ids.clone()
        self.passes = torch.zeros(len(self.best), dtype=torch.int64, device=self.best.device)
        self.spared = torch.zeros_like(self.passes)
        every = torch.arange(len(self.best), device=self.best.device)
        start = self._exact(self.best, every)
        self._remember(dict(zip(self._keys(self.best, every), start.tolist(), strict=True)))
        self.passes += 1
        self.losses, self.start = start.clone(), start

    def evaluate(self, rows: Tensor, *, beat: bool = False) -> Tensor:
        """Exact objective of candidate rows [n, m, L]: [n, m], infinite where a row is refused (and not
        paid).

        Args:
            beat: only rows that are better than the prompt's best need to be told exactly; of others, any
                loss that is no better will do. A search asks one way throughout: answers are remembered.
        """
        n, m, length = rows.shape
        flat = rows.reshape(n * m, length)
        owner = torch.arange(n, device=rows.device).repeat_interleave(m)
        keys = self._keys(flat, owner)
        told = {key: self._known[key] for key in keys if key in self._known}
        new: dict[Key, int] = {}
        for i, key in enumerate(keys):
            if key not in told:
                new.setdefault(key, i)
        made = torch.zeros_like(self.passes)
        if new:
            index = torch.tensor(list(new.values()), device=rows.device)
            fresh, accepted = self._accepted(flat[index], owner[index], beat)
            made = torch.bincount(owner[index[accepted]], minlength=n)
            found: dict[Key, float | None] = dict(zip(new, fresh, strict=True))
            told |= found
            self._remember(found)
        answers = [told[key] for key in keys]
        paid = torch.tensor([answer is not None for answer in answers], device=rows.device).view(n, m).sum(1)
        self.passes += paid
        self.spared += (paid - made) * passes_of(self.objective)
        losses = [math.inf if answer is None else answer for answer in answers]
        return torch.tensor(losses, dtype=torch.float32, device=rows.device).view(n, m)

    def keep(self, rows: Tensor, losses: Tensor) -> Tensor:
        """Take the best candidate of each prompt where it beats what there is. rows [n, m, L], losses [n, m];
        returns which prompts got better [n]."""
        low, which = losses.min(1)
        better = low < self.losses
        chosen = rows.gather(1, which.view(-1, 1, 1).expand(-1, 1, rows.shape[2])).squeeze(1)
        self.best = torch.where(better.unsqueeze(1), chosen, self.best)
        self.losses = torch.where(better, low, self.losses)
        return better

    def changes(self, objective: GradientObjective) -> Tensor:
        """`GradientObjective.first_order` of the best rows at the free positions [n, k, c]; paid as two
        passes a prompt."""
        free, allowed, each = self.problem.free, self.problem.allowed, passes_of(objective)
        todo = torch.arange(len(self.best), device=self.best.device)
        if self._changes is not None and not self.problem.exhaustive:
            todo = (self._changes[0] != self.best).any(1).nonzero()[:, 0]
        if len(todo):
            found = self.batches.run(
                lambda part: objective.first_order(self.best[part], part, free[part], allowed), todo, each
            )
            if self._changes is not None:
                found = self._changes[1].index_copy(0, todo, found)
            self._changes = self.best, found
        assert self._changes is not None  # the first call computes all
        self.paid(2)
        self.spared += 2 * each
        self.spared[todo] -= 2 * each
        return self._changes[1]

    def paid(self, passes: int) -> None:
        """Count passes of every prompt that `evaluate` did not see (gradients)."""
        self.passes += passes

    def found(self) -> Found:
        return Found(self.best, self.losses, self.start, self.passes, self.spared)

    def _keys(self, rows: Tensor, owner: Tensor) -> list[Key]:
        """What rows [r, L] are remembered by; keys that never meet again where nothing is to be."""
        if self.problem.exhaustive:
            return list(range(len(rows)))
        tokens = rows.gather(1, self.problem.free[owner]).tolist()
        return [(prompt, *row) for prompt, row in zip(owner.tolist(), tokens, strict=True)]

    def _remember(self, told: dict[Key, float | None]) -> None:
        if self.problem.exhaustive:
            return
        if len(self._known) > KNOWN * len(self.best):
            self._known.clear()
        self._known |= told

    def _accepted(self, rows: Tensor, owner: Tensor, beat: bool) -> tuple[list[float | None], Tensor]:
        """Losses of rows [r, L], None where they are refused, and which are not [a]."""
        accept = self.problem.accept
        index = (
            torch.arange(len(rows), device=rows.device)
            if accept is None
            else accept(rows, owner).nonzero()[:, 0]
        )
        losses: list[float | None] = [None] * len(rows)
        if len(index):
            computed = self._exact(rows[index], owner[index], beat)
            for i, loss in zip(index.tolist(), computed.tolist(), strict=True):
                losses[i] = loss
        return losses, index

    def _exact(self, rows: Tensor, owner: Tensor, beat: bool = False) -> Tensor:
        every = torch.arange(len(rows), device=rows.device)
        below = bounded(self.objective) if beat and not self.problem.exhaustive else None
        if below is not None:  # one pass of a row after the other
            return self.batches.run(
                lambda part: _told(below(rows[part], owner[part], self.losses[owner[part]])), every
            )
        return self.batches.run(
            lambda part: _told(self.objective.loss(rows[part], owner[part])), every, passes_of(self.objective)
        )


def _told(losses: Tensor) -> Tensor:
    """Losses to compare by. What is no number is the worst there is: nothing is below it and it is below
    nothing, so that one such row would hide every other of its step."""
    return losses.detach().float().nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
