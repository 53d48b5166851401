"""The prompts of a run with free words before them, as tokens of every encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...errors import UsageError
from ...models.families import Tokens
from ...policy.minors import names_minor
from ...search.candidates import SLOT, Templates, Tokenize, as_read, candidates, free_positions
from ..context import MethodContext

_AT_ONCE = 512


@dataclass(frozen=True)
class Vocabulary:
    """Words that are one token in every encoder.

    Attributes:
        words: c of them, in alphabetical order.
        ids: by encoder, the token of each [c].
        opening: what stands before them, see `Candidates.opening`.
    """

    words: tuple[str, ...]
    ids: Mapping[str, Tensor]
    opening: str

    @staticmethod
    def of(context: MethodContext) -> Vocabulary:
        """All that training may read: no word that names a minor, none of `MethodContext.never`.

        Raises:
            UsageError: fewer than two are left.
        """

        def refused(word: str) -> bool:
            return word.casefold() in context.never or names_minor(word) is not None

        try:
            known = {name: candidates(t, refuse=refused) for name, t in context.tokenizers.items()}
            shared = set.intersection(*(set(found.words) for found in known.values()))
            if len(shared) < 2:
                raise ValueError("the tokenizers share fewer than two single-token words")
            read = {
                name: as_read(found.only([word in shared for word in found.words]), ids_of(context, name))
                for name, found in known.items()
            }
            words = sorted(set.intersection(*(set(found.words) for found in read.values())))
            if len(words) < 2:
                raise ValueError("the encoders read fewer than two words as one token each")
        except ValueError as error:
            raise UsageError(f"no words for an attack: {error}") from error
        ids = {}
        for name, found in read.items():
            token = dict(zip(found.words, found.ids.tolist(), strict=True))
            ids[name] = torch.tensor([token[word] for word in words], device=context.device)
        return Vocabulary(tuple(words), ids, max(found.opening for found in read.values()))


def ids_of(context: MethodContext, name: str) -> Tokenize:
    """Texts to the token ids of one encoder."""
    return lambda texts: context.tokenize(texts)[name]["input_ids"]


class Slots:
    """Unsafe prompts of the table with ``count`` free words before them.

    Args:
        context: of the method.
        count: free words, at least 1.
    """

    def __init__(self, context: MethodContext, count: int) -> None:
        self.context, self.count = context, count
        self.vocabulary = Vocabulary.of(context)
        rows = np.unique(context.table.unsafe)
        self._place = {int(row): i for i, row in enumerate(rows)}
        texts = [context.table.texts[row] for row in rows]
        words, opening = dict(enumerate(self.vocabulary.words)), self.vocabulary.opening
        begin = torch.zeros(len(texts), count, dtype=torch.int64)
        parts = []
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            templates = Templates(
                tuple(f"{opening}{' '.join([*[SLOT] * count, text])}" for text in part), words
            )
            written = templates.write(begin[: len(part)], torch.arange(len(part)))
            found = context.tokenize(written)
            free = {}
            for name in found:
                try:
                    free[name] = free_positions(ids_of(context, name), templates, (0, 1))[1]
                except ValueError as error:
                    raise UsageError(f"prefix {count}: {error}") from error
            parts.append((found, free))
        self._tokens: Tokens = {
            name: {key: torch.cat([p[0][name][key] for p in parts]) for key in of}
            for name, of in parts[0][0].items()
        }
        self._free = {name: torch.cat([p[1][name] for p in parts]) for name in parts[0][1]}

    def of(self, rows: np.ndarray, lengths: Mapping[str, int]) -> Slotted:
        """The prompts of some rows, cut to ``lengths`` (by encoder)."""
        index, device = torch.tensor([self._place[int(row)] for row in rows]), self.context.device
        tokens = {
            name: {key: t[index, : lengths[name]].to(device) for key, t in parts.items()}
            for name, parts in self._tokens.items()
        }
        return Slotted(
            tokens, {n: f[index].to(device) for n, f in self._free.items()}, dict(self.vocabulary.ids)
        )

    @cached_property
    def ends(self) -> dict[str, Tensor]:
        """Tokens of every prompt with its free words, by encoder, in the order of `rows_of`."""
        return {name: parts["attention_mask"].sum(1) for name, parts in self._tokens.items()}

    def fit(self, rows: np.ndarray, lengths: Mapping[str, int]) -> np.ndarray:
        """Which prompts have their end within ``lengths``, [b] bool."""
        index = torch.tensor([self._place[int(row)] for row in rows])
        return torch.stack([self.ends[n][index] <= lengths[n] for n in self.ends]).all(0).numpy()


@dataclass(frozen=True)
class Slotted:
    """b prompts with k free words.

    Attributes:
        tokens: of every encoder, with the vocabulary's first word in the free places.
        free: by encoder, the free positions [b, k].
        ids: by encoder, the token of every word of the vocabulary [c].
    """

    tokens: Tokens
    free: Mapping[str, Tensor]
    ids: Mapping[str, Tensor]

    def filled(self, words: Tensor, which: Tensor | None = None) -> Tokens:
        """Tokens with words [r, k] (numbers in the vocabulary) in the free places of prompts ``which`` [r],
        each prompt once where absent."""
        out: Tokens = {}
        for name, parts in self.tokens.items():
            chosen = parts if which is None else {key: t[which] for key, t in parts.items()}
            free = self.free[name] if which is None else self.free[name][which]
            ids = chosen["input_ids"].scatter(1, free, self.ids[name][words])
            out[name] = {**chosen, "input_ids": ids}
        return out

    def marks(self) -> dict[str, Tensor]:
        """1 at the free positions, by encoder [b, L, 1]."""
        return {
            name: torch.zeros_like(parts["input_ids"], dtype=torch.float32)
            .scatter(1, self.free[name], 1.0)
            .unsqueeze(-1)
            for name, parts in self.tokens.items()
        }
