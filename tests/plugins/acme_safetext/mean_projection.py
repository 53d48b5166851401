"""Method ``mean-projection``: take the direction of the concept out of unsafe prompts, keep safe ones.

The direction is the difference of the means of a concept's unsafe prompts and of the safe ones, position by
position; projecting it out is what Haghighatkhah et al. (EMNLP 2022) do to embeddings. Here the encoder
learns to give the projected conditioning itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import normalize

from safetext_sdk.methods import Method, MethodConfig
from safetext_sdk.methods.distances import over_pieces, positions, relative_error

if TYPE_CHECKING:
    from torch import Tensor

    from safetext_sdk.methods import Batch, MethodContext
    from safetext_sdk.models.families import Pieces


class MeanProjectionConfig(MethodConfig):
    strength: float = Field(
        default=1.0, gt=0, le=2, description="Share of the concept's part that is taken out; 2 mirrors it."
    )
    safe_weight: float = Field(default=1.0, ge=0, description="Weight of the safe term.")
    sample: int = Field(default=256, ge=1, description="Prompts that each mean is taken over, at most.")


class MeanProjection(Method[MeanProjectionConfig]):
    name = "mean-projection"
    summary = "the direction of the concept is taken out of unsafe prompts"
    source = "Haghighatkhah et al., EMNLP 2022, as a training target"
    Config = MeanProjectionConfig

    def prepare(self, context: MethodContext) -> None:
        table, draw = context.table, context.generator(1)

        def mean(rows: np.ndarray) -> Pieces:
            some = draw.permutation(rows)[: self.config.sample]
            return {name: positions(piece).mean(0) for name, piece in context.original(some).items()}

        self.centre = mean(table.safe)  # [L, d] a piece
        shown = [mean(table.unsafe[table.concept == k]) for k in range(len(table.concepts))]
        self.direction = {
            name: normalize(torch.stack([of_concept[name] - centre for of_concept in shown]), dim=-1)
            for name, centre in self.centre.items()
        }  # [concepts, L, d]
        context.keep(table.safe, context.sizes.safe)
        context.keep(table.unsafe, context.sizes.unsafe)

    def target(self, batch: Batch, name: str) -> Tensor:
        """The original conditioning of the unsafe prompts without their concept, [b, L, d]."""
        original = positions(batch.unsafe_original[name])
        length = original.shape[1]  # a step may read a prefix
        away = self.direction[name][torch.from_numpy(batch.rows.concept), :length].to(original)
        part = ((original - self.centre[name][:length].to(original)) * away).sum(-1, keepdim=True)
        return original - self.config.strength * part * away

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        def unsafe_error(name: str) -> Tensor:
            original, mask = batch.unsafe_original[name], batch.unsafe_mask.get(name)
            return relative_error(batch.unsafe[name], self.target(batch, name), original, mask)

        def safe_error(name: str) -> Tensor:
            original, mask = batch.safe_original[name], batch.safe_mask.get(name)
            return relative_error(batch.safe[name], original, original, mask)

        unsafe = over_pieces(batch.unsafe, batch.weights, unsafe_error).mean()
        safe = over_pieces(batch.safe, batch.weights, safe_error).mean()
        return {"loss": unsafe + self.config.safe_weight * safe, "unsafe": unsafe, "safe": safe}
