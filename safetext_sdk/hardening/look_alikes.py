"""Made-up words by what the original encoder reads in them: one of a concept's words, or something else.

An encoder takes any word that it does not know for the known one that it is most like: of 4,000 made-up words
the embedded model reads one in twelve as a weapon. Those are further names of the concept, which held-out
synonyms and an attacker's tokens are among as well; the others stand for safe things that nobody listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..models.families import Family, piece_owner
from ..models.model import EncoderBundle, TextToImageModel

FRAMES = ("a picture of a {}", "a {} next to an apple")
"""Where words are read: alone in a picture, and beside something else. A word must read alike in both."""
_ALIKE, _ALIKE_LEAD = 0.6, 0.2
"""Least cosine to a word of a concept, and least lead over all safe words, of a further name of it."""
_RISKY, _RISKY_LEAD = 0.45, 0.1
"""The same of a word that may bring the concept in. One whose lead is smaller in *every* frame reads unlike
it; what lies between is left alone."""
_MARGIN = 4
"""Pad positions behind the end that are read: there a causal encoder has summed the prompt up."""
_BATCH = 256


@dataclass(frozen=True)
class MadeUpWords:
    """``alike``: further names of a concept. ``risky``: those and whatever may bring it in. ``unlike``: names
    of something else."""

    alike: Sequence[str] = ()
    risky: Sequence[str] = ()
    unlike: Sequence[str] = ()


def sorted_by_reading(
    model: TextToImageModel, words: Sequence[str], terms: Sequence[str], safe: Sequence[str]
) -> MadeUpWords:
    """Sort words by their nearest neighbours in the original.

    A linear boundary would not do: safe things that nobody listed lie on either side of it, though they are
    far from every term.

    Args:
        model: the original.
        words: to be sorted.
        terms: words of the concepts, those of training alone.
        safe: names of safe things, such that the original knows: what it does not know is read as anything.
    """
    if not words or not terms or not safe:
        return MadeUpWords()
    readings = []
    for frame in FRAMES:
        x = summaries(model, [frame.format(w) for w in (*terms, *safe, *words)])
        known = len(terms) + len(safe)
        x = normalize(x - x[:known].mean(0), dim=-1)
        readings.append(nearness(x[known:], x[: len(terms)], x[len(terms) : known]))
    leads = torch.stack([v for _, v in readings])
    near = torch.stack([n for n, _ in readings]).amin(0).tolist()
    rows = list(zip(words, near, leads.amin(0).tolist(), leads.amax(0).tolist(), strict=True))
    return MadeUpWords(
        alike=[w for w, n, low, _ in rows if n > _ALIKE and low > _ALIKE_LEAD],
        risky=[w for w, n, low, _ in rows if n > _RISKY and low > _RISKY_LEAD],
        unlike=[w for w, _, _, high in rows if high < _RISKY_LEAD],
    )


def nearness(words: Tensor, terms: Tensor, safe: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine to the nearest term, and its lead over that to the nearest safe word.

    Args:
        words: [n, d]; terms: [t, d]; safe: [s, d]; all of length 1.

    Returns:
        [n] each.
    """
    near = (words @ terms.T).amax(1)
    return near, near - (words @ safe.T).amax(1)


@torch.no_grad()
def summaries(model: TextToImageModel, texts: Sequence[str]) -> Tensor:
    """What the original makes of each text as a whole, [n, d], in fp32 on the CPU.

    Pooled outputs as they are; of sequences of causal encoders the end token and the mean of the pads behind
    it, of others the mean over the prompt.
    """
    bundle = EncoderBundle(model.family, model.encoders, model.options)
    reader, out = model.reader, []
    for start in range(0, len(texts), _BATCH):
        tokens = {
            name: {key: t[:, : _needed(name, parts["attention_mask"], reader)] for key, t in parts.items()}
            for name, parts in model.tokenize(texts[start : start + _BATCH]).items()
        }
        masks = {} if reader.pads_are_read else reader.masks(tokens)
        pieces = bundle(
            {n: {key: t.to(model.device) for key, t in parts.items()} for n, parts in tokens.items()}
        )
        found = []
        for name, piece in pieces.items():
            owner = piece_owner(name)
            # A piece may leave out a template's positions: its mask is not always that of its tokens.
            mask = masks.get(name, tokens[owner]["attention_mask"])
            found.append(_summary(piece.float().cpu(), mask, owner in reader.causal))
        out.append(torch.cat(found, 1))
    return torch.cat(out)


def _needed(encoder: str, mask: Tensor, reader: Family) -> int:
    """How many positions of an encoder tell all that is summed up of prompts with this ``mask`` [b, L].

    Later positions of a causal encoder cannot change earlier ones: they need not be computed, unless pads
    come first.
    """
    if encoder not in reader.causal or not mask[:, 0].all():
        return mask.shape[1]
    return min(mask.shape[1], int(mask.sum(1).max()) + _MARGIN)


def _summary(piece: Tensor, mask: Tensor, causal: bool) -> Tensor:
    """One piece summed up.

    Args:
        piece: [b, d], or [b, L, d].
        mask: [b, L], 1 where the prompt stands.
        causal: whether positions tell of those before them alone.

    Returns:
        [b, d], or twice as wide.
    """
    if piece.ndim == 2:
        return piece
    if not causal:
        return _mean(piece, mask.bool())
    last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    place = torch.arange(piece.shape[1])
    behind = (place > last.unsqueeze(1)) & (place <= last.unsqueeze(1) + _MARGIN)
    return torch.cat([piece[torch.arange(len(piece)), last], _mean(piece, behind)], 1)


def _mean(piece: Tensor, where: Tensor) -> Tensor:
    weight = where.to(piece.dtype).unsqueeze(-1)
    return (piece * weight).sum(1) / weight.sum(1).clamp(min=1)
