"""min mean ||f(s) - f0(s)||_2 + lambda * mean cos(f(u), f0(u)); arXiv 2502.20623.

The paper measures the distance in the encoder's own units, so its lambda belongs to those of one encoder:
over a whole conditioning ||f0(s)|| is in the hundreds for CLIP-L, 1 for a sentence encoder. With
``distance="relative"`` the distance is divided by ||f0(s)||, and one lambda means the same everywhere.

The method moves every unsafe prompt away and gives it no place to go: pictures of unsafe prompts tend to be
garbled, and alike. ``anchor`` gives them one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..base import Method
from ..distances import flat_cosine, flat_norm, flat_relative_norm, over_pieces
from .config import SafeTextConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..batch import Batch
    from ..context import MethodContext


class SafeText(Method[SafeTextConfig]):
    name = "safetext"
    summary = (
        "the paper's loss: safe prompts keep their conditioning, unsafe ones are turned away from theirs"
    )
    source = "Hu, Jiang, Gong: SafeText, arXiv 2502.20623"
    Config = SafeTextConfig

    def prepare(self, context: MethodContext) -> None:
        context.keep(context.table.safe_targets, context.sizes.safe)
        context.keep(context.table.unsafe, context.sizes.unsafe)

    def start(self, trainable: Mapping[str, nn.Parameter], seed: int) -> None:
        """Leave the point where both encoders are equal: |cos| and cos have no gradient there."""
        with torch.no_grad():
            for name, parameter in trainable.items():
                generator = torch.Generator().manual_seed(
                    (seed * 1_000_003 + zlib.crc32(name.encode())) % 2**31
                )
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                spread = float(parameter.detach().float().std()) if parameter.numel() > 1 else 0.0
                # A LoRA's second matrix is zero at the start and acts through the small first one, so its
                # noise is of a fixed, larger size.
                parameter.add_(
                    (self.config.kick * (spread or 1.0) * noise).to(parameter.device, parameter.dtype)
                )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        distance = flat_relative_norm if self.config.distance == "relative" else flat_norm
        keep = over_pieces(
            batch.safe,
            batch.weights,
            lambda n: distance(batch.safe[n], batch.safe_original[n], batch.safe_mask.get(n)),
        ).mean()
        euclidean = self.config.turn == "euclidean"
        measure = distance if euclidean else flat_cosine
        turned = over_pieces(
            batch.unsafe,
            batch.weights,
            lambda n: measure(batch.unsafe[n], batch.unsafe_original[n], batch.unsafe_mask.get(n)),
        )
        if euclidean:
            turned = -turned
        elif self.config.cosine == "absolute":
            turned = turned.abs()
        turned = batch.unsafe_mean(turned)
        return {"loss": keep + self.config.weight * turned, "safe": keep, "unsafe": turned}
