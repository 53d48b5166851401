"""ESD's noise target through the frozen denoiser e, reached by moving the text encoder f:

    ||e(z, t, f(u)) - [e0 - eta (e(z, t, f0(u)) - e0)]||^2 + .3 ||e(z, t, f(s)) - e(z, t, f0(s))||^2

with e0 = e(z, t, f0("")); mean squares. ESD (Gandikota et al. 2023, arXiv 2303.07345, section 4) trains the
denoiser; AdvUnlearn (Zhang et al. 2024, arXiv 2405.15234, section 4) found the text encoder to be the better
place and adds the second term. Both draw a new z at each step from a picture that is made as far as t; here
moments are recorded once and drawn from, so that a step costs four passes through the denoiser, not fifty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..base import Method
from ..noise import Denoiser, Moments
from .config import EsdEncoderConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

    from torch import Tensor

    from ..batch import Batch
    from ..context import MethodContext


class EsdEncoder(Method[EsdEncoderConfig]):
    name = "esd-encoder"
    summary = "the denoiser predicts for unsafe prompts what it predicts away from their concept"
    source = "ESD, arXiv 2303.07345, on the text encoder as in AdvUnlearn, arXiv 2405.15234"
    Config = EsdEncoderConfig
    train_defaults: ClassVar[Mapping[str, Any]] = {"whole_every": 1}

    def prepare(self, context: MethodContext) -> None:
        self._context, self.denoiser = context, Denoiser(context)
        self.moments = Moments.of(context, self.denoiser, self.config)
        context.keep(context.table.safe_targets, context.sizes.safe)
        context.keep(context.table.unsafe, context.sizes.unsafe)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        rows, join, predict = batch.rows, self._context.conditioning, self.denoiser.predict
        blank = np.full(len(rows.unsafe), self._context.table.fixed[0])
        moments = self.moments.draw(self._context, rows.step, [int(k) for k in rows.concept])
        with torch.no_grad():
            nothing = predict(moments, join(self.whole(batch, blank)))
            concept = predict(moments, join(self.whole(batch, rows.unsafe)))
            target = nothing - self.config.guidance * (concept - nothing)
        error = (predict(moments, join(batch.unsafe)) - target).square().flatten(1).mean(1)
        unsafe = batch.unsafe_mean(error)
        calm = self.moments.draw(self._context, rows.step, [None] * len(rows.safe))
        with torch.no_grad():
            kept = rows.safe if rows.kept_as is None else rows.kept_as
            before = predict(calm, join(self.whole(batch, kept)))
        safe = (predict(calm, join(batch.safe)) - before).square().mean()
        return {"loss": unsafe + self.config.safe_weight * safe, "unsafe": unsafe, "safe": safe}

    def whole(self, batch: Batch, rows: np.ndarray) -> dict[str, Tensor]:
        """The original on rows, with the pieces of encoders that stay as they are."""
        if all(batch.weights.get(name, 1.0) for name in batch.unsafe):
            return dict(batch.original(rows))
        lengths = {name: piece.shape[1] for name, piece in batch.unsafe.items() if piece.ndim == 3}
        return dict(self._context.teacher.whole(rows, lengths))
