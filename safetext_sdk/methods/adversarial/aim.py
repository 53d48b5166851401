"""What an attack brings back: how far the encoders in training are from what the original made of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...models.families import Conditioning, Pieces
from ..context import MethodContext
from ..distances import flat_cosine, over_pieces, relative_error
from ..noise import Denoiser, Moments, reading_matrix


class Aim:
    """Towards the original's conditioning: 1 - cosine of the flattened pieces, weighed as in the loss.

    ``all_encoders``: whether pieces that do not count are wanted as well, because a denoiser reads them.
    """

    all_encoders: ClassVar[bool] = False

    def __init__(self, context: MethodContext) -> None:
        self.context = context

    def set(self, rows: np.ndarray, concepts: np.ndarray, lengths: Mapping[str, int], step: int) -> None:
        """Choose the prompts of a step: rows of the table [b], their concepts, positions that are read."""
        teacher = self.context.teacher
        self.want = (teacher.whole if self.all_encoders else teacher.read)(rows, lengths)

    def far(self, got: Pieces, which: Tensor) -> Tensor:
        """Distance of pieces [r, ...] from what is wanted of prompts ``which`` [r]; differentiable, [r]."""
        weights = self.context.weights
        return over_pieces(got, weights, lambda n: 1 - flat_cosine(got[n], self.want[n][which]))


class ReadAim(Aim):
    """The same as the denoiser's cross-attention reads it: relative squared error in its metric G. Pooled
    parts, and denoisers without cross-attention: unweighted."""

    all_encoders = True

    def __init__(self, context: MethodContext, denoiser: Denoiser) -> None:
        super().__init__(context)
        matrix = reading_matrix(denoiser.module)
        self._factor: Tensor | None = None
        if matrix is not None:
            values, vectors = torch.linalg.eigh(matrix.double())
            self._factor = (vectors * values.clamp_min(0).sqrt()).float()  # x'Gx = ||x @ factor||^2

    def set(self, rows: np.ndarray, concepts: np.ndarray, lengths: Mapping[str, int], step: int) -> None:
        super().set(rows, concepts, lengths, step)
        self._read = self.read(self.context.conditioning(self.want))

    def read(self, given: Conditioning) -> dict[str, Tensor]:
        """The tensors of a conditioning in coordinates whose distances are the denoiser's."""
        out = {name: t.float() for name, t in given.tensors.items()}
        if self._factor is not None:
            out["prompt_embeds"] = out["prompt_embeds"] @ self._factor.to(out["prompt_embeds"].device)
        return out

    def far(self, got: Pieces, which: Tensor) -> Tensor:
        read = self.read(self.context.conditioning(got))
        errors = [relative_error(read[n], self._read[n][which], self._read[n][which]) for n in read]
        return torch.stack(errors).mean(0)


class NoiseAim(Aim):
    """Towards the denoiser's prediction: its mean squared error, at a moment of the prompt's concept."""

    all_encoders = True

    def __init__(self, context: MethodContext, denoiser: Denoiser, moments: Moments) -> None:
        super().__init__(context)
        self._denoiser, self._moments = denoiser, moments

    def set(self, rows: np.ndarray, concepts: np.ndarray, lengths: Mapping[str, int], step: int) -> None:
        super().set(rows, concepts, lengths, step)
        self._drawn = self._moments.draw(self.context, step, [int(k) for k in concepts])
        with torch.no_grad():
            self._wanted = self._denoiser.predict(self._drawn, self.context.conditioning(self.want))

    def far(self, got: Pieces, which: Tensor) -> Tensor:
        moments = [self._drawn[i] for i in which.tolist()]
        found = self._denoiser.predict(moments, self.context.conditioning(got))
        return (found - self._wanted[which]).square().flatten(1).mean(1)
