"""Unsafe prompt -> conditioning of its anchor prompt; safe prompt -> its own. The policy's idea, near to
Safe-CLIP and SafeR-CLIP.

Both terms are squared errors relative to the size of each position of the original conditioning, averaged
over positions and encoders, so a value of 0.05 means "5 % of its energy away from the target", on every model
family alike. The optional contrastive term is InfoNCE (arXiv 1807.03748, section 2.3) over the anchors of one
forward pass, as Safe-CLIP has for its redirection, and over as many further
anchors of the policy as wanted: sixteen rivals are seldom the generic places that prompts gather at, a
    thousand hold most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import relu

from ..base import Batch, Method
from ..distances import over_pieces, pair_cosine, position_cosine, relative_error
from .config import AnchorConfig

if TYPE_CHECKING:
    from torch import Tensor


_SAME = 0.9999  # cosine from which two anchors are one


class Anchor(Method[AnchorConfig]):
    name = "anchor"
    summary = (
        "unsafe prompts are redirected to their anchor prompt, safe ones keep their conditioning "
        "(the default)"
    )
    source = "the policy's own idea; cf. Safe-CLIP (arXiv 2311.16254) and SafeR-CLIP"
    Config = AnchorConfig

    def __init__(self, config: AnchorConfig) -> None:
        super().__init__(config)
        self.needs_original = (
            config.push > 0 or config.margin > 0
        )  # a quarter of the time is saved where nothing reads it
        self.other_anchors = config.contrast_anchors if config.contrast > 0 else 0

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        push = self.config.push

        def redirect(name: str) -> Tensor:
            anchor = batch.anchor[name]
            target = anchor - push * (batch.unsafe_original[name] - anchor) if push else anchor
            return relative_error(batch.unsafe[name], target, anchor, batch.unsafe_mask.get(name))

        unsafe = over_pieces(batch.unsafe, batch.weights, redirect).mean()
        safe = over_pieces(
            batch.safe,
            batch.weights,
            lambda n: relative_error(
                batch.safe[n], batch.safe_original[n], batch.safe_original[n], batch.safe_mask.get(n)
            ),
        ).mean()
        parts = {"loss": unsafe + self.config.safe_weight * safe, "unsafe": unsafe, "safe": safe}
        if self.config.margin > 0:

            def lead(name: str) -> Tensor:
                mask = batch.unsafe_mask.get(name)
                to_original = position_cosine(batch.unsafe[name], batch.unsafe_original[name], mask)
                return to_original - position_cosine(batch.unsafe[name], batch.anchor[name], mask)

            parts["margin"] = relu(over_pieces(batch.unsafe, batch.weights, lead) + self.config.margin).mean()
            parts["loss"] = parts["loss"] + self.config.margin_weight * parts["margin"]
        if self.config.contrast > 0:

            def told_apart(name: str) -> Tensor:
                anchor, mask = batch.anchor[name], batch.unsafe_mask.get(name)
                nearness = pair_cosine(batch.unsafe[name], anchor, mask) / self.config.temperature
                # Prompts that share an anchor are not to be told apart.
                same = (pair_cosine(anchor, anchor) > _SAME).fill_diagonal_(False)
                rivals = nearness.masked_fill(same, -torch.inf)
                if name in batch.other_anchors:
                    others = (
                        pair_cosine(batch.unsafe[name], batch.other_anchors[name], mask)
                        / self.config.temperature
                    )
                    rivals = torch.cat([rivals, others], dim=1)
                return rivals.logsumexp(1) - nearness.diagonal()

            parts["contrast"] = over_pieces(batch.unsafe, batch.weights, told_apart).mean()
            parts["loss"] = parts["loss"] + self.config.contrast * parts["contrast"]
        return parts
