"""SAGE: structure-aware geometric regularization (arXiv 2607.00402) = DES and two terms on the safe prompts.

    + 2.0 max(0, tr0 - tr)      tr: spread of normalised safe outputs, the trace of their covariance
    + 0.1 (1 - Pearson)         likeness of each concept-shifted f(s) + n to its 15 nearest ones, against f0's

Both are taken over the safe prompts of a step, piece by piece. The neighbours are the nearest of f0(s) + n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize, relu

from ..des.loss import Steered
from ..distances import EPSILON, over_pieces
from .config import SageConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch


class Sage(Steered[SageConfig]):
    name = "sage"
    summary = "des, and safe prompts keep their spread and their neighbours"
    source = "SAGE, arXiv 2607.00402"
    Config = SageConfig

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        parts, turn = super().loss(batch), self.turn(batch)

        def flat(piece: Tensor, name: str) -> Tensor:
            mask = batch.safe_mask.get(name)
            return (piece * mask.unsqueeze(-1).to(piece) if mask is not None else piece).float().flatten(1)

        def lost(n: str) -> Tensor:
            return relu(spread(flat(batch.safe_original[n], n)) - spread(flat(batch.safe[n], n))).view(1)

        def untied(n: str) -> Tensor:
            f, f0, away = batch.safe[n], batch.safe_original[n], self.away(n, turn, batch.safe[n])
            return 1 - structure(flat(f + away, n), flat(f0 + away, n), self.config.neighbours)

        parts["spread"] = over_pieces(batch.safe, batch.weights, lost).mean()
        parts["structure"] = over_pieces(batch.safe, batch.weights, untied).mean()
        parts["loss"] = (
            parts["loss"]
            + self.config.spread_weight * parts["spread"]
            + self.config.structure_weight * parts["structure"]
        )
        return parts


def spread(x: Tensor) -> Tensor:
    """Trace of the covariance of the rows of x [m, n] at length 1, a number in [0, 1]."""
    unit = normalize(x, dim=1)
    return (unit - unit.mean(0)).square().sum(1).mean()


def structure(now: Tensor, before: Tensor, neighbours: int) -> Tensor:
    """Pearson correlation, row by row [m], of the cosines to the ``neighbours`` nearest rows of ``before``:
    those of ``now`` [m, n] against those of ``before`` [m, n].

    With fewer than two neighbours there is nothing to correlate: 1. Rows that are equally like all of theirs
    have no correlation; there 0.
    """
    count = min(neighbours, len(before) - 1)
    if count < 2:
        return now.new_ones(len(now))
    likeness = [normalize(x, dim=1) @ normalize(x, dim=1).T for x in (now, before)]
    own = torch.eye(len(before), dtype=torch.bool, device=before.device)
    nearest = likeness[1].masked_fill(own, -torch.inf).topk(count, dim=1).indices
    a, b = (x.gather(1, nearest) for x in likeness)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1) + EPSILON**2).sqrt()
