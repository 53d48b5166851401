"""DES: distorting embedding space (Ahn and Jung, NeurIPS 2025, arXiv 2501.18877), three cosine terms.

    w [(1 - cos(f(s), f0(s))) + (1 - cos(f(s) + a n, f0(s)))]          safe prompts stay, with the concept too
    + (1 - w) [1 - cos(f(u), f0(least similar safe prompt) - a n)]     unsafe prompts go far from it
    + (1 - w) [1 - cos(f(word), f0(""))]                               the concept's word says nothing

n is f0(word) at length 1; w = .3. The paper has one concept; here each unsafe prompt takes its own concept's
direction, and safe prompts take the concepts by turns. The published code trains ``last_hidden_state`` on
every model; here it is what the denoiser reads, each encoder's contribution by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch

from ...device import on_device
from ..base import Method
from ..distances import flat_cosine, over_pieces
from ..steering import concept_words, directions, least_similar, mean_norms
from .config import DesConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch, StepInputs
    from ..context import MethodContext
    from ..prompt_table import StepRows

C = TypeVar("C", bound=DesConfig)
PAPER: Mapping[str, Any] = {
    "learning_rate": 1e-5,
    "epochs": 2,
    "batch_size": 128,
    "betas": (0.9, 0.999),
    "weight_decay": 0.01,
    "warmup": 0.0,
    "final": 1.0,
    "clip_norm": 1e9,
    "train_embeddings": True,
    "whole_every": 1,
    "wide_safe": 0,
}
"""AdamW as torch has it, constant step size, all weights, all positions, the data's own safe prompts."""


class Steered(Method[C]):
    """DES's terms, for methods that add to them."""

    train_defaults: ClassVar[Mapping[str, Any]] = PAPER

    def prepare(self, context: MethodContext) -> None:
        table, words = context.table, concept_words(context)
        self._words, self._blank = context.tokenize(words), table.fixed[:1]
        self._word_masks = context.masks(self._words)
        self.direction = directions(context, words)
        sizes = mean_norms(context, table.safe if len(table.safe) else table.anchor)
        self.step = {name: self.config.strength * size for name, size in sizes.items()}
        self.opposite = least_similar(context)
        context.keep(table.safe_targets, context.sizes.safe)
        context.keep(self.opposite, context.sizes.unsafe)

    def compared_rows(self, everyone: StepRows) -> np.ndarray:
        rows: np.ndarray = self.opposite[everyone.pair]
        return rows

    def inputs(self, inputs: StepInputs) -> StepInputs:
        """The words of the step's concepts go through as well."""
        which = torch.from_numpy(np.unique(inputs.rows.concept))
        extra = {}
        for name, parts in self._words.items():
            like = inputs.unsafe[name]["input_ids"]
            extra[name] = {k: on_device(t[which, : like.shape[1]], like.device) for k, t in parts.items()}
        return dataclasses.replace(inputs, extra=extra)

    def away(self, name: str, concept: np.ndarray, like: Tensor) -> Tensor:
        """n of each prompt's concept, at as many positions as ``like`` has."""
        direction = self.direction[name]
        n = direction[on_device(torch.from_numpy(concept), direction.device)].to(like)
        return n[:, : like.shape[1]] if n.ndim == 3 else n

    def turn(self, batch: Batch) -> np.ndarray:
        """The concept that each safe prompt takes in this step, [m]."""
        return (batch.rows.step + np.arange(len(batch.rows.safe))) % len(next(iter(self.direction.values())))

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The three terms of DES, unweighted: ``safe``, ``unsafe``, ``word``."""
        rows, turn = batch.rows, self.turn(batch)
        opposite, blank = batch.original(self.opposite[rows.pair]), batch.original(self._blank)
        other = batch.mask(self.opposite[rows.pair])
        both = {n: m * other[n] for n, m in batch.unsafe_mask.items()}

        def kept(n: str) -> Tensor:
            f, f0, mask = batch.safe[n], batch.safe_original[n], batch.safe_mask.get(n)
            shifted = f + self.step[n] * self.away(n, turn, f)
            return 2 - flat_cosine(f, f0, mask) - flat_cosine(shifted, f0, mask)

        def sent(n: str) -> Tensor:
            target = opposite[n] - self.step[n] * self.away(n, rows.concept, opposite[n])
            return 1 - flat_cosine(batch.unsafe[n], target, both.get(n))

        blanks = batch.mask(self._blank) if batch.unsafe_mask else {}
        named = torch.from_numpy(np.unique(rows.concept))

        def silenced(n: str) -> Tensor:
            f, mask = batch.extra[n], None
            if n in blanks:
                own = self._word_masks[n][named, : f.shape[1]]
                mask = on_device(own, f.device) * blanks[n]
            return 1 - flat_cosine(f, blank[n].expand_as(f), mask)

        return {
            "safe": over_pieces(batch.safe, batch.weights, kept).mean(),
            "unsafe": batch.unsafe_mean(over_pieces(batch.unsafe, batch.weights, sent)),
            "word": over_pieces(batch.extra, batch.weights, silenced).mean(),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        parts, w = self.terms(batch), self.config.safe_weight
        return {"loss": w * parts["safe"] + (1 - w) * (parts["unsafe"] + parts["word"]), **parts}


class Des(Steered[DesConfig]):
    name = "des"
    summary = "unsafe prompts go to their least similar safe prompt, away from the concept's direction"
    source = "Ahn, Jung: DES, NeurIPS 2025, arXiv 2501.18877, section 4"
    Config = DesConfig
