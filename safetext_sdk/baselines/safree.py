"""SAFREE's projection: tokens that bring a prompt near the concept are moved out of the concept's subspace.

Of the paper, this is the detection of trigger tokens and the projection (section 3.1 and 3.2). Its
self-validating filter, which gives early denoising steps alone the projected embedding, and its attention
over frequencies of the latents are left out: they belong to single denoisers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ..models import Conditioning, TextToImageModel
from ..models.families.conditioning import Pieces, Tokens, piece_owner
from .base import Baseline, BaselineConfig, BaselineContext, Learned
from .defended import Defence, DefendedModel, Draw, Encode
from .readings import pooled

BLANK = 0
"""The id that stands in a masked token's place, as in the published code."""


class SafreeConfig(BaselineConfig):
    """Settings of ``safree``."""

    alpha: float = Field(
        default=0.01, ge=0, description="How much farther than the mean without a token is a trigger's."
    )
    words: int = Field(
        default=17, ge=1, description="Words that span a concept; the paper has 17 for nudity."
    )


def span(vectors: Tensor) -> Tensor:
    """An orthonormal basis ``[d, r]`` of the rows of ``[n, d]``; r is their rank."""
    u, s, _ = torch.linalg.svd(vectors.double().T, full_matrices=False)
    basis: Tensor = u[:, s > 1e-6 * s.max()].to(vectors.dtype)
    return basis


def outside(x: Tensor, basis: Tensor) -> Tensor:
    """The part of rows ``[n, d]`` that is orthogonal to a basis ``[d, r]``: ``(I - P) x``."""
    return x - (x @ basis) @ basis.T


def triggers(masked: Tensor, concept: Tensor, alpha: float) -> Tensor:
    """Which tokens bring a prompt near a concept (equations 3 and 4).

    Args:
        masked: ``[n, d]``, the prompt's pooled vector without each of its n tokens.
        concept: basis ``[d, r]`` of the concept.

    Returns:
        ``[n]`` bool: without it, the prompt is farther from the concept than without the others on average.
    """
    distance = outside(masked, concept).norm(dim=-1)
    if len(distance) == 1:  # nothing to compare with; the published code takes it for a trigger
        return torch.ones(1, dtype=torch.bool, device=masked.device)
    others = (distance.sum() - distance) / (len(distance) - 1)
    found: Tensor = distance >= (1 + alpha) * others
    return found


class Projection(Defence):
    """The projection on every piece that encoders give.

    Args:
        model: the undefended one.
        bases: by piece, ``[d, r]``.
    """

    def __init__(self, model: TextToImageModel, bases: Mapping[str, Tensor], alpha: float) -> None:
        text = b"".join(bases[name].cpu().numpy().tobytes() for name in sorted(bases))
        super().__init__({"safree": hashlib.sha256(text).hexdigest(), "alpha": alpha})
        self.plain, self.alpha = model, alpha
        self.bases = {name: basis.to(model.device) for name, basis in bases.items()}
        self.special = {name: set(t.all_special_ids) for name, t in model.tokenizers.items()}

    def condition(self, encode: Encode, tokens: Tokens) -> Conditioning:
        given = encode(tokens)
        out = Conditioning({name: t.clone() for name, t in given.tensors.items()})
        pieces = self.plain.pieces(out, tokens)  # views: what is written into them stands in `out`
        for row in range(len(out)):
            one = {name: {k: t[row : row + 1] for k, t in parts.items()} for name, parts in tokens.items()}
            for owner in tokens:
                self._project(
                    encode, one, owner, {n: p[row] for n, p in pieces.items() if piece_owner(n) == owner}
                )
        return out

    def _project(self, encode: Encode, tokens: Tokens, owner: str, mine: Pieces) -> None:
        """Write the projection into one encoder's pieces of one prompt, ``[L, d]`` or ``[d]``."""
        ids, mask = (tokens[owner][key][0].tolist() for key in ("input_ids", "attention_mask"))
        real = [
            i for i, (n, m) in enumerate(zip(ids, mask, strict=True)) if m and n not in self.special[owner]
        ]
        if not real or not mine:
            return
        many = {
            name: {key: t.repeat(len(real), 1) for key, t in parts.items()} for name, parts in tokens.items()
        }
        many[owner]["input_ids"][list(range(len(real))), real] = BLANK
        masked = pooled(self.plain.reader, self.plain.pieces(encode(many), many), many)
        for name, piece in mine.items():
            found = triggers(masked[name], self.bases[name], self.alpha)
            if piece.ndim == 1:  # a pooled vector has no tokens: it is moved if there is any trigger
                if bool(found.any()):
                    piece.copy_(outside(piece.float().unsqueeze(0), self.bases[name])[0])
                continue
            at = [i for i, hit in zip(real, found.tolist(), strict=True) if hit]
            inside = span(masked[name])
            moved = outside((piece[at].float() @ inside) @ inside.T, self.bases[name])
            piece[at] = moved.to(piece.dtype)

    def draw(self, model: DefendedModel, draw: Draw, arguments: dict[str, Any]) -> Any:
        arguments.update(model.encode(arguments.pop("prompt")).tensors)
        return draw(**arguments)


class Safree(Baseline[SafreeConfig]):
    """No training: the words' pooled vectors span the concept. A prompt of n tokens costs n more passes
    through each encoder."""

    name = "safree"
    summary = "trigger tokens are projected out of the concept's subspace"
    source = "SAFREE, arXiv 2410.12761, sections 3.1 and 3.2: detection and projection alone"
    Config = SafreeConfig

    def impossible(self, model: TextToImageModel) -> str:
        if model.reader.makes_pictures and not model.reader.pads_are_read:
            return (
                "its denoiser takes a mask or a length beside the conditioning, which is not handed over here"
            )
        if set(model.encode([""]).tensors) - {"prompt_embeds", "pooled_prompt_embeds"}:
            return "its conditioning is more than embeddings and a pooled vector"
        return ""

    @torch.no_grad()
    def learn(self, context: BaselineContext) -> Learned:
        model = context.original
        tokens = model.tokenize([word for word, _ in context.words][: self.config.words])
        vectors = pooled(model.reader, model.pieces(model.condition(tokens), tokens), tokens)
        return {name: span(v.cpu()) for name, v in vectors.items()}

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        return DefendedModel.of(context.original, Projection(context.original, learned, self.config.alpha))
