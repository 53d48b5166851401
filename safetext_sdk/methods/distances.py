"""Distances between pieces of conditioning. Pure: tensors in, one number a prompt out ([b])."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

EPSILON = 1e-8


def positions(piece: Tensor) -> Tensor:
    """A piece as [b, L, d]; a pooled one has one position."""
    return piece.unsqueeze(1) if piece.ndim == 2 else piece


def relative_error(a: Tensor, b: Tensor, scale: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over positions of ||a - b||^2 / ||scale||^2, [b].

    Each position is measured by its own size, because some positions (the first of a CLIP sequence) are tens
    of times longer than the others and would be all that a plain squared error sees.

    Args:
        a, b, scale: [b, L, d] or [b, d]; ``scale`` is taken as constant.
        mask: [b, L], 1 where a position counts.
    """
    a, b, scale = positions(a).float(), positions(b).float(), positions(scale).float().detach()
    error = (a - b).square().sum(-1) / (scale.square().sum(-1) + EPSILON)
    return masked_mean(error, mask)


def position_cosine(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over positions of the cosine between a and b, [b]."""
    return masked_mean(
        torch.cosine_similarity(positions(a).float(), positions(b).float(), dim=-1, eps=EPSILON), mask
    )


def pair_cosine(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over positions of the cosine between every row of a and every row of b, [n, m].

    Args:
        a: [n, L, d] or [n, d]; b: [m, L, d] or [m, d].
        mask: [n, L] of ``a``, 1 where a position counts.
    """
    a, b = (torch.nn.functional.normalize(positions(x).float(), dim=-1, eps=EPSILON) for x in (a, b))
    by_position = torch.einsum("nld,mld->nml", a, b)
    return masked_mean(by_position, None if mask is None else mask.unsqueeze(1).expand_as(by_position))


def flat_cosine(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cosine between the flattened pieces, [b]: the paper's measure."""
    a, b = _flat(a, mask), _flat(b, mask)
    return torch.cosine_similarity(a, b, dim=-1, eps=EPSILON)


def flat_norm(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """||a - b||_2 over the flattened pieces, [b].

    The gradient of a norm at zero is undefined; a tiny constant under the root makes it zero there, as it
    should be for an unchanged encoder.
    """
    return (_flat(a, mask) - _flat(b, mask)).square().sum(-1).add(EPSILON).sqrt()


def flat_relative_norm(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """||a - b||_2 / ||b||_2 over the flattened pieces, [b]: the same for both scaled by any number.

    Args:
        a, b: [b, L, d] or [b, d]; ``b`` is the original and taken as constant.
        mask: [b, L], 1 where a position counts.
    """
    a, b = _flat(a, mask), _flat(b, mask).detach()
    size = b.square().sum(-1).clamp_min(torch.finfo(b.dtype).tiny)
    return ((a - b).square().sum(-1) / size).add(EPSILON).sqrt()


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the last dimension, where ``mask`` is 1."""
    if mask is None or mask.shape != values.shape:
        return values.mean(-1)
    mask = mask.to(values.dtype)
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def over_pieces(
    pieces: Mapping[str, Tensor], weights: Mapping[str, float], function: Callable[[str], Tensor]
) -> Tensor:
    """Weighted mean over pieces of ``function(name)`` [b]; a piece that is not in ``weights`` counts 1, one
    of weight 0 is not read."""
    counted = {name: weights.get(name, 1.0) for name in pieces if weights.get(name, 1.0)}
    total = sum(counted.values())
    return torch.stack([weight / total * function(name) for name, weight in counted.items()]).sum(0)


def _flat(piece: Tensor, mask: Tensor | None) -> Tensor:
    piece = positions(piece).float()
    if mask is not None and mask.shape == piece.shape[:2]:
        piece = piece * mask.unsqueeze(-1).to(piece.dtype)
    return piece.flatten(1)
