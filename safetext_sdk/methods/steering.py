"""What methods that steer by directions compute once: a concept's word and direction, the size of the
original's outputs, the safe prompt that is least like an unsafe one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..models.families import Pieces
from .context import MethodContext
from .distances import positions

_AT_ONCE = 64
_SAMPLE = 512
_BANK_BYTES = 2e9
_STREAM = 811


def concept_words(context: MethodContext) -> list[str]:
    """One word for each of ``table.concepts``: the first of the policy's that training reads (never one that
    is held out), or the concept's id where training reads none."""
    table, found = context.table, []
    for number, name in enumerate(table.concepts):
        rows = table.unsafe[table.concept == number]
        read = "\n".join(table.texts[row] for row in rows).casefold()
        words = context.concepts[name].words if name in context.concepts else []
        seen = (w for w in words if re.search(rf"(?<!\w){re.escape(w.casefold())}(?!\w)", read))
        found.append(next(seen, name.replace("_", " ").replace("-", " ")))
    return found


def masked(pieces: Pieces, masks: Mapping[str, Tensor]) -> Pieces:
    """Pieces with zeros at positions that do not count."""
    return {
        name: piece * masks[name].unsqueeze(-1).to(piece) if name in masks and piece.ndim == 3 else piece
        for name, piece in pieces.items()
    }


def unit(pieces: Pieces) -> Pieces:
    """Every piece at length 1 over all its positions, prompt by prompt."""
    return {name: normalize(p.float().flatten(1), dim=1).view(p.shape) for name, p in pieces.items()}


def directions(context: MethodContext, words: list[str]) -> Pieces:
    """n of each word: its original conditioning at length 1, [words, L, d] or [words, d] a piece."""
    return unit(masked(context.original_of(words), context.masks(context.moved(context.tokenize(words)))))


def mean_norms(context: MethodContext, rows: np.ndarray) -> dict[str, float]:
    """Mean ||f0|| of every piece, flattened, over (at most 512 of) ``rows``."""
    rows = context.generator(_STREAM).permutation(rows)[:_SAMPLE]
    totals: dict[str, list[Tensor]] = {}
    for _, pieces in _read(context, rows):
        for name, piece in pieces.items():
            totals.setdefault(name, []).append(piece.float().flatten(1).norm(dim=1))
    return {name: float(torch.cat(norms).mean()) for name, norms in totals.items()}


def least_similar(context: MethodContext) -> np.ndarray:
    """For each pair of the table, the row of the safe prompt whose original conditioning is least like the
    unsafe prompt's, [n]. Likeness is the mean of the pieces' flattened cosines, weighed as in the loss.

    Candidates are all safe prompts whose outputs fit into 2 GB, drawn at random where not all do.
    """
    table = context.table
    pool = np.unique(table.safe if len(table.safe) else table.anchor)
    one = _vectors(next(_read(context, pool[:1]))[1], context.weights)
    most = max(1, int(_BANK_BYTES // (4 * one.shape[1])))
    if len(pool) > most:
        pool = np.sort(context.generator(_STREAM + 1).permutation(pool)[:most])
    bank = torch.cat([_vectors(pieces, context.weights) for _, pieces in _read(context, pool)])
    unsafe, place = np.unique(table.unsafe, return_inverse=True)
    found = [
        (_vectors(pieces, context.weights) @ bank.T).argmin(1).cpu().numpy()
        for _, pieces in _read(context, unsafe)
    ]
    least: np.ndarray = pool[np.concatenate(found)][place]
    return least


def _read(context: MethodContext, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Pieces]]:
    """The original on rows, a few at a time, zeros where positions do not count."""
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        yield (
            part,
            masked(context.original(part), context.masks(context.table.pick(part, {}, context.device))),
        )


def _vectors(pieces: Pieces, weights: Mapping[str, float]) -> Tensor:
    """[b, n] whose inner products are weighted means of the pieces' cosines."""
    counted = {name: weights.get(name, 1.0) for name in pieces if weights.get(name, 1.0)}
    total = sum(counted.values())
    parts = [
        (weight / total) ** 0.5 * normalize(positions(pieces[name]).float().flatten(1), dim=1)
        for name, weight in counted.items()
    ]
    return torch.cat(parts, dim=1)
