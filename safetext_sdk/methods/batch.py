"""What a method sees of one step: the prompts that go in (`StepInputs`), and what came out (`Batch`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..device import on_device
from ..models.families import Pieces, Tokens
from .prompt_table import StepRows

Read = Callable[[np.ndarray], Pieces]
"""Rows of the table -> the original encoder's pieces on them."""

Masks = Mapping[str, Tensor]
"""[b, L] by piece name, 1 where a position counts; empty where pad positions are read like any other."""


@dataclass(frozen=True)
class StepInputs:
    """The prompts of a step before they go through the encoders in training; `Method.inputs` may replace
    them.

    ``unsafe``, ``safe``: tokens of ``rows.unsafe`` and ``rows.safe``. ``extra``: further prompts that shall
    go through (the word of a concept by itself, say), at as many positions as the others; their outputs are
    `Batch.extra`. ``shift``: by encoder, [b, L, d], added to the token embeddings of the unsafe prompts.
    """

    rows: StepRows
    unsafe: Tokens
    safe: Tokens
    extra: Tokens = field(default_factory=dict)
    shift: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Batch:
    """One whole step (of this process): what each encoder contributed to the conditioning, by piece name,
    [b, L, d] or [b, d].

    A method always sees the whole step, however few prompts fit through the encoders at once.

    Attributes:
        rows: which prompts these are; ``rows.concept`` says what each unsafe one shows.
        everyone: the same over all processes, for terms that compare the prompts of a step with one another.
        unsafe, safe: outputs of the encoders in training on ``rows.unsafe`` and ``rows.safe``.
        extra: on the further prompts that `Method.inputs` added.
        original: rows of the table -> the original encoders' outputs, at the positions that this step reads;
            only pieces that count.
        mask: rows of the table -> their masks.
        unsafe_mask, safe_mask: masks of ``unsafe`` and ``safe``.
        weights: how much each piece counts; 0 for those of encoders that stay as they are.
        importance: [b], how much each unsafe prompt counts beside the others, 1 on average over all pairs;
            None = all alike. `unsafe_mean` applies it.
        empty: [1], the row of the empty prompt.
    """

    rows: StepRows
    everyone: StepRows
    unsafe: Pieces
    safe: Pieces
    original: Read
    weights: Mapping[str, float]
    extra: Pieces = field(default_factory=dict)
    unsafe_mask: Masks = field(default_factory=dict)
    safe_mask: Masks = field(default_factory=dict)
    mask: Callable[[np.ndarray], Masks] = lambda rows: {}
    importance: Tensor | None = None
    empty: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    def unsafe_mean(self, values: Tensor) -> Tensor:
        """Mean of ``values`` [b] over the unsafe prompts, each counting as its concept does."""
        return (values if self.importance is None else values * self.importance.to(values)).mean()

    @cached_property
    def anchor(self) -> Pieces:
        """What each unsafe prompt is redirected to: the original on its anchor, or between that and the
        original on the empty prompt (`Pair.reach`)."""
        pieces, reach = self.original(self.rows.anchor), self.rows.reach
        if reach is None or (reach == 1).all():
            return pieces
        empty = self.original(self.empty)
        share = torch.from_numpy(reach)

        def between(name: str, piece: Tensor) -> Tensor:
            s = on_device(share, piece.device).to(piece.dtype).view(-1, *[1] * (piece.ndim - 1))
            return torch.lerp(empty[name].expand_as(piece), piece, s)

        return {name: between(name, piece) for name, piece in pieces.items()}

    @cached_property
    def unsafe_original(self) -> Pieces:
        """The original on the unsafe prompts as they stand in the table."""
        return self.original(self.rows.unsafe)

    @cached_property
    def safe_original(self) -> Pieces:
        """What safe prompts must be like: the original on them, or on the text that each is kept as."""
        return self.original(self.rows.safe if self.rows.kept_as is None else self.rows.kept_as)
