"""Unsafe prompt -> conditioning of its anchor prompt; safe prompt -> its own. The policy's idea, near to
Safe-CLIP and SafeR-CLIP.

Both terms are squared errors relative to the size of each position of the original conditioning, averaged
over positions and encoders, so a value of 0.05 means "5 % of its energy away from the target", on every model
family alike. The optional contrastive term is InfoNCE (arXiv 1807.03748, section 2.3) over the anchors of
one step, as Safe-CLIP has for its redirection, and over as many further anchors of the policy as wanted:
sixteen rivals are seldom the generic places that prompts gather at, a thousand hold most of them.

What it is for: what is left of a squared error points to what all targets have in common, so every prompt
loses a part of what it alone asks for, a second object first. Told apart from other anchors, it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import relu

from ...device import on_device
from ..base import Method
from ..distances import over_pieces, pair_cosine, position_cosine, relative_error
from ..sampling import rows_at
from .config import AnchorConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch, Masks
    from ..context import MethodContext
    from ..prompt_table import StepRows

_SAME = 0.9999  # cosine from which two anchors are one
_RIVALS = 4  # the walk of the further anchors, apart from the trainer's own (1 to 3)


class Anchor(Method[AnchorConfig]):
    name = "anchor"
    summary = (
        "unsafe prompts are redirected to their anchor prompt, safe ones keep their conditioning "
        "(the default)"
    )
    source = "the policy's own idea; cf. Safe-CLIP (arXiv 2311.16254) and SafeR-CLIP"
    Config = AnchorConfig

    def prepare(self, context: MethodContext) -> None:
        table, sizes, config = context.table, context.sizes, self.config
        self._seed, self._anchors = context.seed, np.unique(table.anchor)
        further = config.contrast_anchors if config.contrast > 0 else 0
        context.keep(table.anchor, sizes.unsafe + further)
        context.keep(table.safe_targets, sizes.safe)
        if config.push > 0 or config.margin > 0:  # nothing else reads where unsafe prompts were
            context.keep(table.unsafe, sizes.unsafe)

    def further_anchors(self, everyone: StepRows) -> np.ndarray:
        """Rows of the further anchors of a step: others at each step, none of the step's own."""
        if not self.config.contrast or not self.config.contrast_anchors:
            return np.zeros(0, np.int64)
        count, total = min(self.config.contrast_anchors, len(self._anchors)), len(self._anchors)
        chosen: np.ndarray = self._anchors[rows_at(everyone.step, count, total, self._seed, _RIVALS)]
        further: np.ndarray = chosen[~np.isin(chosen, everyone.anchor)]
        return further

    def compared_rows(self, everyone: StepRows) -> np.ndarray:
        return np.concatenate([self.further_anchors(everyone), everyone.anchor])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        push, mask = self.config.push, _positions_of_both(batch)

        def redirect(name: str) -> Tensor:
            anchor = batch.anchor[name]
            target = anchor - push * (batch.unsafe_original[name] - anchor) if push else anchor
            return relative_error(batch.unsafe[name], target, anchor, mask.get(name))

        unsafe = batch.unsafe_mean(over_pieces(batch.unsafe, batch.weights, redirect))
        safe = over_pieces(
            batch.safe,
            batch.weights,
            lambda n: relative_error(
                batch.safe[n], batch.safe_original[n], batch.safe_original[n], batch.safe_mask.get(n)
            ),
        ).mean()
        parts = {"loss": unsafe + self.config.safe_weight * safe, "unsafe": unsafe, "safe": safe}
        if self.config.margin > 0:
            parts["margin"] = batch.unsafe_mean(relu(self._lead(batch, mask) + self.config.margin))
            parts["loss"] = parts["loss"] + self.config.margin_weight * parts["margin"]
        if self.config.contrast > 0:
            parts["contrast"] = batch.unsafe_mean(self._told_apart(batch, mask))
            parts["loss"] = parts["loss"] + self.config.contrast * parts["contrast"]
        return parts

    def _lead(self, batch: Batch, mask: Masks) -> Tensor:
        """Lead of the cosine to the original over the cosine to the anchor, [b]."""

        def lead(name: str) -> Tensor:
            to_original = position_cosine(batch.unsafe[name], batch.unsafe_original[name], mask.get(name))
            return to_original - position_cosine(batch.unsafe[name], batch.anchor[name], mask.get(name))

        return over_pieces(batch.unsafe, batch.weights, lead)

    def _told_apart(self, batch: Batch, mask: Masks) -> Tensor:
        """InfoNCE of each unsafe prompt, over mean cosines of positions: its own anchor against those of the
        step, over all processes, and the further ones, [b]. Lists of words take no part: their target is
        near to nothing that a prompt asks for, and pushed from it they would be another negative prompt.
        """
        rows = np.concatenate([_whole_anchors(batch.everyone), self.further_anchors(batch.everyone)])
        rivals = batch.original(rows) if len(rows) else {}
        itself = torch.from_numpy(batch.rows.anchor[:, None] == rows)

        def told_apart(name: str) -> Tensor:
            own = position_cosine(batch.unsafe[name], batch.anchor[name], mask.get(name)).unsqueeze(1)
            near = [own]
            if name in rivals:
                # Prompts that share an anchor, or have one that is read alike, are not to be told apart.
                alike = pair_cosine(batch.anchor[name], rivals[name]) > _SAME
                same = alike | on_device(itself, alike.device)
                others = pair_cosine(batch.unsafe[name], rivals[name], mask.get(name))
                near.append(others.masked_fill(same, -torch.inf))
            return (torch.cat(near, dim=1) / self.config.temperature).logsumexp(1) - (
                own.squeeze(1) / self.config.temperature
            )

        found, reach = over_pieces(batch.unsafe, batch.weights, told_apart), batch.rows.reach
        return found if reach is None else found * on_device(torch.from_numpy(reach == 1), found.device)


def _whole_anchors(rows: StepRows) -> np.ndarray:
    """The anchors of those pairs that are sent all the way to them."""
    whole: np.ndarray = rows.anchor if rows.reach is None else rows.anchor[rows.reach == 1]
    return whole


def _positions_of_both(batch: Batch) -> Masks:
    """Where an unsafe prompt and its anchor both have a position: only those can be compared."""
    if not batch.unsafe_mask:
        return {}
    other = batch.mask(batch.rows.anchor)
    return {name: mask * other[name] for name, mask in batch.unsafe_mask.items()}
