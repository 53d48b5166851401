"""Prompts as token tables, and the original encoder's outputs on them.

* Every text is tokenized once; a step picks rows. Rows of causal encoders may be read as a prefix.
* The original's outputs are computed once, in fixed batches, if they fit into memory; else at each step.
  Either way they are the same in a resumed run, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..models.families import FAMILIES, Pieces, Tokens, piece_owner
from ..models.model import EncoderBundle, TextToImageModel

BATCH = 64


@dataclass
class PromptTable:
    """Unsafe prompts with their anchors, and safe texts, all as rows of one token table.

    ``unsafe``, ``anchor``: [n] row numbers, pairwise. ``safe``: [m]; ``fixed``: rows that every step holds
    (the empty prompt).
    """

    texts: list[str]
    tokens: Tokens
    lengths: dict[str, Tensor]
    unsafe: np.ndarray
    anchor: np.ndarray
    safe: np.ndarray
    fixed: np.ndarray
    negative: np.ndarray


def build_table(
    model: TextToImageModel, pairs: Sequence[tuple[str, str]], safe: Sequence[tuple[str, str]]
) -> PromptTable:
    """Tokenize everything once.

    Args:
        model: for its tokenizers.
        pairs: (unsafe prompt, its anchor).
        safe: (text, kind) as `safeset.SafeText` has them.
    """
    row: dict[str, int] = {}
    for text in (*(t for pair in pairs for t in pair), *(t for t, _ in safe)):
        row.setdefault(text, len(row))
    texts = list(row)
    parts = [model.tokenize(texts[i : i + 512]) for i in range(0, len(texts), 512)]
    tokens: Tokens = {
        name: {key: torch.cat([p[name][key] for p in parts]) for key in parts[0][name]} for name in parts[0]
    }
    return PromptTable(
        texts,
        tokens,
        {name: t["attention_mask"].sum(dim=1) for name, t in tokens.items()},
        np.array([row[u] for u, _ in pairs], dtype=np.int64),
        np.array([row[a] for _, a in pairs], dtype=np.int64),
        np.array([row[t] for t, kind in safe if kind not in ("empty", "negative")], dtype=np.int64),
        np.array([row[t] for t, kind in safe if kind == "empty"], dtype=np.int64),
        np.array([row[t] for t, kind in safe if kind == "negative"], dtype=np.int64),
    )


def pick(table: PromptTable, rows: np.ndarray, lengths: dict[str, int], device: torch.device) -> Tokens:
    """Tokens of some rows, cut to ``lengths`` (by encoder), on ``device``."""
    index = torch.from_numpy(rows)
    return {
        name: {key: t[index, : lengths[name]].to(device) for key, t in parts.items()}
        for name, parts in table.tokens.items()
    }


def read_lengths(
    table: PromptTable, rows: np.ndarray, family: str, *, whole: bool, margin: int
) -> dict[str, int]:
    """How many positions of each encoder a step reads.

    All of them; or, where the encoder is causal, as many as three quarters of the prompts have and ``margin``
    more. The ends of longer prompts wait for a step that reads all. Where only the pooled output is read
    (FLUX), every prompt's end must be there.
    """
    out, index = {}, torch.from_numpy(rows)
    reader = FAMILIES.get(family)
    for name, parts in table.tokens.items():
        full = parts["input_ids"].shape[1]
        cut = not whole and name in reader.causal
        lengths = table.lengths[name][index].float()
        # A pooled output is taken at the end token: cut before it, and another position would be pooled.
        wanted = lengths.max() if reader.reads_end_token else lengths.quantile(0.75)
        out[name] = min(full, math.ceil(float(wanted)) + margin) if cut else full
    return out


@dataclass
class Teacher:
    """The original encoder's pieces on rows of a table, from a cache if that fits into ``cache_bytes`` and
    pays."""

    bundle: EncoderBundle
    table: PromptTable
    device: torch.device
    autocast: torch.dtype | None = None
    cache: dict[str, Tensor] = field(default_factory=dict)
    slot: np.ndarray | None = None

    def fill(self, rows: np.ndarray, cache_bytes: float, reads: float) -> bool:
        """Compute the outputs of ``rows`` once, if they fit and that is cheaper. Returns whether they are
        cached now.

        Args:
            rows: row numbers; repeats do not count.
            cache_bytes: what they may take.
            reads: how many rows of them training will read, a row that is read in part counting in part.
        """
        rows = np.unique(rows)
        if self.slot is not None:
            rows = rows[self.slot[rows] < 0]
        if not len(rows):
            return True
        full = {name: parts["input_ids"].shape[1] for name, parts in self.table.tokens.items()}
        first = self._run(rows[:1], full)
        if sum(t.numel() * t.element_size() for t in first.values()) * len(
            rows
        ) > cache_bytes or reads <= len(rows):
            return False
        parts = [self._run(rows[i : i + BATCH], full) for i in range(0, len(rows), BATCH)]
        held = [self.cache] if self.cache else []
        start = len(next(iter(self.cache.values()))) if self.cache else 0
        self.cache = {name: torch.cat([p[name] for p in (*held, *parts)]) for name in parts[0]}
        if self.slot is None:
            self.slot = np.full(len(self.table.texts), -1, dtype=np.int64)
        self.slot[rows] = start + np.arange(len(rows))
        return True

    def read(self, rows: np.ndarray, lengths: dict[str, int], names: Collection[str] | None = None) -> Pieces:
        """Pieces of ``rows``, cut to ``lengths``; all of them, or those of ``names``."""
        if self.slot is not None and (self.slot[rows] >= 0).all():
            index = torch.from_numpy(self.slot[rows])
            held = {name: t for name, t in self.cache.items() if names is None or name in names}
            return {name: self._cut(name, t[index.to(t.device)], lengths) for name, t in held.items()}
        return {name: t for name, t in self._run(rows, lengths).items() if names is None or name in names}

    def held_bytes(self) -> int:
        """What the cache takes now."""
        return sum(t.numel() * t.element_size() for t in self.cache.values())

    def _cut(self, name: str, piece: Tensor, lengths: dict[str, int]) -> Tensor:
        return piece[:, : lengths[piece_owner(name)]] if piece.ndim == 3 else piece

    @torch.no_grad()
    def _run(self, rows: np.ndarray, lengths: dict[str, int]) -> Pieces:
        with torch.autocast(
            self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None
        ):
            return {
                name: t.float()
                for name, t in self.bundle(pick(self.table, rows, lengths, self.device)).items()
            }
