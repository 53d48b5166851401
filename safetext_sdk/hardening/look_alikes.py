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

from ..models.families import Pieces, piece_owner
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
    causal, out = model.reader.causal, []
    for start in range(0, len(texts), _BATCH):
        tokens = model.tokenize(texts[start : start + _BATCH])
        lengths = {name: parts["attention_mask"].sum(1) for name, parts in tokens.items()}
        # Later positions of a causal encoder cannot change earlier ones: they need not be computed.
        cut = {
            name: min(parts["input_ids"].shape[1], int(lengths[name].max()) + _MARGIN)
            if name in causal
            else parts["input_ids"].shape[1]
            for name, parts in tokens.items()
        }
        short = {
            name: {key: t[:, : cut[name]].to(model.device) for key, t in parts.items()}
            for name, parts in tokens.items()
        }
        pieces: Pieces = {name: t.float().cpu() for name, t in bundle(short).items()}
        out.append(
            torch.cat(
                [_summary(t, lengths[piece_owner(n)], piece_owner(n) in causal) for n, t in pieces.items()], 1
            )
        )
    return torch.cat(out)


def _summary(piece: Tensor, lengths: Tensor, causal: bool) -> Tensor:
    if piece.ndim == 2:
        return piece
    place = torch.arange(piece.shape[1])
    if not causal:
        return _mean(piece, place < lengths.unsqueeze(1))
    end = piece[torch.arange(len(piece)), lengths - 1]
    behind = (place >= lengths.unsqueeze(1)) & (place < lengths.unsqueeze(1) + _MARGIN)
    return torch.cat([end, _mean(piece, behind)], 1)


def _mean(piece: Tensor, where: Tensor) -> Tensor:
    weight = where.to(piece.dtype).unsqueeze(-1)
    return (piece * weight).sum(1) / weight.sum(1).clamp(min=1)
