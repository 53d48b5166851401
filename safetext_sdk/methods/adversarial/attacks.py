"""The inner attacks: signed gradient steps on embeddings, HotFlip, greedy coordinate gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.families import Tokens
from ...search.coordinate_gradient import coordinate_gradient
from ...search.objective import Slopes, exchange
from ...search.problem import Problem
from ..context import MethodContext
from .aim import Aim
from .slots import Slotted

_ROWS = 64


@dataclass(frozen=True)
class Pgd:
    """Signed gradient descent on a change to token embeddings (Madry et al. 2018, arXiv 1706.06083, section
    2.1). ``size``, ``radius``: by encoder, in its own unit; a radius of infinity is none."""

    context: MethodContext
    aim: Aim
    rounds: int
    size: Mapping[str, float]
    radius: Mapping[str, float]

    def run(
        self, tokens: Tokens, marks: Mapping[str, Tensor], start: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """
        Args:
            tokens: of the prompts.
            marks: by encoder, 1 where embeddings may change [b, L, 1].
            start: by encoder, where to start from [b, L, d].
        Returns:
            The change [b, L, d], by encoder.
        """
        change = {name: t.clone() for name, t in start.items()}
        rows = torch.arange(len(next(iter(marks.values()))), device=self.context.device)
        for _ in range(self.rounds):
            leaves = {name: t.requires_grad_() for name, t in change.items()}
            with torch.enable_grad():
                far = self.aim.far(self.context.student(tokens, leaves), rows).sum()
                slopes = torch.autograd.grad(far, list(leaves.values()), allow_unused=True)
            for (name, leaf), slope in zip(leaves.items(), slopes, strict=True):
                if slope is None:
                    change[name] = leaf.detach()
                    continue
                moved = leaf.detach() - self.size[name] * slope.sign() * marks[name]
                change[name] = moved.clamp(-self.radius[name], self.radius[name])
        return change


class Words:
    """An objective of the free words, for searches: ids are numbers in the vocabulary, all free.

    See `search.objective.GradientObjective`.
    """

    def __init__(self, context: MethodContext, aim: Aim, slotted: Slotted) -> None:
        self.context, self.aim, self.slotted = context, aim, slotted

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """See `search.objective.Objective.loss`."""
        with torch.no_grad():
            return self.aim.far(self.context.student(self.slotted.filled(ids, prompts)), prompts)

    def first_order(self, ids: Tensor, prompts: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
        """See `search.objective.GradientObjective.first_order`; over all encoders."""
        tokens = self.slotted.filled(ids, prompts)
        shift = {
            name: torch.zeros(*parts["input_ids"].shape, width_of(self.context, name), device=ids.device)
            for name, parts in tokens.items()
        }
        leaves = {name: t.requires_grad_() for name, t in shift.items()}
        with torch.enable_grad():
            far = self.aim.far(self.context.student(tokens, leaves), prompts)
            slopes = torch.autograd.grad(far.sum(), list(leaves.values()), allow_unused=True)
        change = torch.zeros(*free.shape, len(allowed), device=ids.device)
        for name, slope in zip(leaves, slopes, strict=True):
            if slope is not None:
                place = self.slotted.free[name][prompts].gather(1, free)
                table = self.context.tables[name]
                at = slope.gather(1, place.unsqueeze(-1).expand(*place.shape, slope.shape[-1]))
                present = tokens[name]["input_ids"].gather(1, place)
                here = Slopes(far.detach(), ((at, table),))
                change += exchange(here, present, self.slotted.ids[name][allowed])
        return change


def hotflip(objective: Words, words: Tensor, rounds: int) -> Tensor:
    """Flip the one word of each prompt that the gradient says is best, round by round (Ebrahimi et al. 2018,
    arXiv 1712.06751, section 3); the best row of those that were seen is kept.

    Args:
        words: to start from [b, k].
    """
    b, k = words.shape
    rows, free = torch.arange(b, device=words.device), torch.arange(k, device=words.device).expand(b, k)
    allowed = torch.arange(len(next(iter(objective.slotted.ids.values()))), device=words.device)
    best, least = words, objective.loss(words, rows)
    for _ in range(rounds):
        change = objective.first_order(words, rows, free, allowed).flatten(1)
        flip = change.argmin(1)
        words = words.scatter(1, (flip // len(allowed)).unsqueeze(1), (flip % len(allowed)).unsqueeze(1))
        far = objective.loss(words, rows)
        best = torch.where((far < least).unsqueeze(1), words, best)
        least = torch.minimum(far, least)
    return best


@dataclass(frozen=True)
class Gcg:
    """Greedy coordinate gradient, see `search.coordinate_gradient`."""

    rounds: int
    candidates: int
    top: int

    def run(self, objective: Words, words: Tensor, seeds: tuple[int, ...]) -> Tensor:
        """The best words found [b, k]; ``seeds``: of each prompt's draws."""
        b, k = words.shape
        problem = Problem(
            ids=words,
            free=torch.arange(k, device=words.device).expand(b, k),
            allowed=torch.arange(len(next(iter(objective.slotted.ids.values()))), device=words.device),
            seeds=seeds,
            at_once=_ROWS,
        )
        found = coordinate_gradient(
            objective, problem, steps=self.rounds, candidates=self.candidates, top=self.top
        )
        return found.ids


def width_of(context: MethodContext, name: str) -> int:
    """Width of an encoder's token embeddings."""
    return int(context.tables[name].shape[1])
