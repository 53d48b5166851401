"""Which tokens a search may use, and where: all that it finds has to be a text that a user can type.

A token is usable if it is a whole word that comes back as itself when it is written between other words. A
row is a text if decoding and tokenizing it again gives the same row; `round_trip` tells that of whole rows,
because two usable tokens can still melt into one where they stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .problem import Accept

Refuse = Callable[[str], bool]
Tokenize = Callable[[Sequence[str]], Tensor]
"""Texts -> ids [b, L], padded and cut as the model's pipeline does it."""
FRAME = ("a", "of")
"""Words that a token is written between to see whether it survives."""


@dataclass(frozen=True)
class Candidates:
    """Usable tokens: ids [c] int64 in ascending order, and the word that each of them is."""

    ids: Tensor
    words: tuple[str, ...]


def candidates(
    tokenizer: Any, *, ascii_words: bool = True, least: int = 2, refuse: Refuse | None = None
) -> Candidates:
    """Tokens that survive a round trip through text.

    Args:
        tokenizer: of transformers.
        ascii_words: only words of ASCII letters.
        least: characters of a word.
        refuse: words never to use, e.g. those that name a minor, or the policy's own terms.

    Raises:
        ValueError: none is left.
    """
    special = set(tokenizer.all_special_ids)
    ids = sorted(i for i in set(tokenizer.get_vocab().values()) if i not in special)
    words = [text.strip() for text in tokenizer.batch_decode([[i] for i in ids])]
    usable = [
        (i, word)
        for i, word in zip(ids, words, strict=True)
        if len(word) >= least
        and word.split() == [word]
        and (not ascii_words or (word.isascii() and word.isalpha()))
        and not (refuse is not None and refuse(word))
    ]
    kept = _surviving(tokenizer, usable)
    if not kept:
        raise ValueError("no token of this tokenizer survives a round trip through text as a word")
    return Candidates(torch.tensor([i for i, _ in kept]), tuple(word for _, word in kept))


def _surviving(tokenizer: Any, usable: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that come back as one token, the same, between two common words."""
    if not usable:
        return []
    before, after = FRAME
    framed = tokenizer([f"{before} {word} {after}" for _, word in usable], add_special_tokens=False)[
        "input_ids"
    ]
    left = tokenizer(before, add_special_tokens=False)["input_ids"]
    right = tokenizer(f"{before} {after}", add_special_tokens=False)["input_ids"][len(left) :]
    return [(i, word) for (i, word), row in zip(usable, framed, strict=True) if row == [*left, i, *right]]


def free_positions(
    tokenize: Tokenize, texts: Sequence[str], slot: str, fillers: tuple[str, str]
) -> tuple[Tensor, Tensor]:
    """Where the words of a placeholder stand, without knowing how the tokenizer frames a prompt.

    The texts are tokenized with one filler and with the other: the positions that differ are free.

    Args:
        tokenize: as the model does it.
        texts: with the placeholder ``slot``, the same number of times each: ``"{} {} a gun on a table"``.
        slot: the placeholder.
        fillers: two words that are one token each.
    Returns:
        ids [n, L] with the first filler, and free positions [n, k] in reading order.

    Raises:
        ValueError: a text is cut before its last slot, or a filler is not one token.
    """
    count = {text.count(slot) for text in texts}
    if len(count) != 1 or 0 in count:
        raise ValueError(f"every text needs the placeholder {slot!r} equally often")
    k = count.pop()
    first, second = (tokenize([text.replace(slot, word) for text in texts]) for word in fillers)
    if first.shape != second.shape or not bool(((first != second).sum(1) == k).all()):
        raise ValueError(f"not every text has room for its {k} words, or a filler is not one token")
    return first, (first != second).nonzero()[:, 1].view(len(texts), k)


def decoded(tokenizer: Any, ids: Tensor) -> list[str]:
    """Rows [r, L] as the texts that a user would type."""
    texts: list[str] = tokenizer.batch_decode(ids.tolist(), skip_special_tokens=True)
    return [" ".join(text.split()) for text in texts]


def round_trip(tokenizer: Any, tokenize: Tokenize) -> Accept:
    """A test of whole rows: does the text of the row give the row again?"""

    def accept(rows: Tensor) -> Tensor:
        return (tokenize(decoded(tokenizer, rows)).to(rows.device) == rows).all(1)

    return accept
