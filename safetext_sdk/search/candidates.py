"""Which tokens a search may use, and where: all that it finds has to be a text that a user can type.

* A token is usable if it is a whole word that comes back as itself when it is written between other words
  (`candidates`), in the text that the model makes of a prompt too (`as_read`).
* `Templates` are the prompts with slots for such words; `free_positions` finds where those stand among the
  ids, without knowing how a tokenizer frames a prompt.
* `round_trip` tells of a whole row whether its text gives the row again: two usable tokens can still melt
  into one where they stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .problem import Accept

Refuse = Callable[[str], bool]
Tokenize = Callable[[Sequence[str]], Tensor]
"""Texts -> ids [b, L], padded and cut as the model's pipeline does it."""
SLOT = "\ufffc"
"""Placeholder of a free word in a template: a character that no prompt contains."""
FRAME = ("a", "of")
"""Words that a token is written between to see whether it survives; one token each, wherever they stand."""
_AT_ONCE = 256


@dataclass(frozen=True)
class Candidates:
    """Usable tokens.

    Attributes:
        ids: [c] int64 in ascending order.
        words: the word that each of them is.
        opening: what has to stand before the first word of a text, so that it is the token that it is behind
            another word.
    """

    ids: Tensor
    words: tuple[str, ...]
    opening: str = ""

    def only(self, keep: Sequence[bool]) -> Candidates:
        """Some of them, in the same order."""
        return Candidates(
            self.ids[torch.tensor(keep, dtype=torch.bool)],
            tuple(word for word, kept in zip(self.words, keep, strict=True) if kept),
            self.opening,
        )

    def templates(self, texts: Sequence[str]) -> Templates:
        """Texts with a `SLOT` for every free word; `opening` is put before a slot that begins one."""
        opened = (self.opening + text if text.startswith(SLOT) else text for text in texts)
        return Templates(tuple(opened), dict(zip(self.ids.tolist(), self.words, strict=True)))


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


def as_read(found: Candidates, tokenize: Tokenize) -> Candidates:
    """Those that are the same one token in what the model makes of a text, and the opening that it needs.

    A tokenizer alone tells only half. A pipeline may lower-case the prompt (PixArt, Sana), so that no text
    gives a word with a capital. Where it stands behind a line's end or a special token (the chat templates
    of Qwen and Mistral, Llama's begin token), byte-level BPE reads its first word as another token, or as
    several, than the same word behind a space; then texts begin with a short common word.

    Args:
        tokenize: as the model does it.

    Raises:
        ValueError: fewer than two are left.
    """
    before, after = FRAME
    inside = _exchanged(
        tokenize, f"{before} {before} {after}", [f"{before} {w} {after}" for w in found.words]
    )
    kept = found.only((inside == found.ids).tolist())
    if len(kept.words) < 2:
        raise ValueError("fewer than two words are one token each in the text that this model reads")
    some = slice(None, None, max(1, len(kept.words) // _AT_ONCE))
    first = _exchanged(tokenize, f"{before} {after}", [f"{w} {after}" for w in kept.words[some]])
    return replace(kept, opening="" if torch.equal(first, kept.ids[some]) else f"{before} ")


def _exchanged(tokenize: Tokenize, base: str, texts: Sequence[str]) -> Tensor:
    """The one token of each text that is not that of ``base``, [n]; -1 where there is none, or another number
    of them."""
    plain, out = tokenize([base]), []
    for start in range(0, len(texts), _AT_ONCE):
        rows = tokenize(texts[start : start + _AT_ONCE])
        other = rows != plain
        token = rows.gather(1, other.int().argmax(1, keepdim=True))[:, 0]
        out.append(token.masked_fill(other.sum(1) != 1, -1))
    return torch.cat(out)


@dataclass(frozen=True)
class Templates:
    """n texts, each with the same number k of slots.

    Attributes:
        texts: with `SLOT` for every free word.
        words: token -> the word that it is.
    """

    texts: tuple[str, ...]
    words: Mapping[int, str]

    def __post_init__(self) -> None:
        slots = {text.count(SLOT) for text in self.texts}
        if len(slots) != 1 or 0 in slots:
            raise ValueError("every template needs the same number of slots, at least one")

    def write(self, tokens: Tensor, prompts: Tensor) -> list[str]:
        """Texts of rows: tokens [r, k] in the slots of the templates of ``prompts`` [r]."""
        return [
            fill(self.texts[prompt], [self.words[token] for token in row])
            for row, prompt in zip(tokens.tolist(), prompts.tolist(), strict=True)
        ]


def fill(template: str, words: Sequence[str]) -> str:
    """The template with its slots filled from left to right."""
    parts = template.split(SLOT)
    if len(parts) != len(words) + 1:
        raise ValueError(f"{len(words)} words for {len(parts) - 1} slots")
    return "".join([parts[0], *(word + part for word, part in zip(words, parts[1:], strict=True))])


def free_positions(
    tokenize: Tokenize, templates: Templates, fillers: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Where the slots stand: the templates are tokenized with one filler and with the other, and the
    positions that differ are free.

    Args:
        tokenize: as the model does it.
        fillers: two usable tokens.

    Returns:
        ids [n, L] with the first filler, and free positions [n, k] in reading order.

    Raises:
        ValueError: a text is cut before its last slot, or a filler is not one token there.
    """
    n, k = len(templates.texts), templates.texts[0].count(SLOT)
    first, second = _filled(tokenize, templates, fillers)
    if first.shape != second.shape or not bool(((first != second).sum(1) == k).all()):
        raise ValueError(f"not every text has room for its {k} words, or a filler is not one token")
    return first, (first != second).nonzero()[:, 1].view(n, k)


def with_room(tokenize: Tokenize, templates: Templates, fillers: tuple[int, int]) -> list[bool]:
    """Which texts are read up to their last slot. Arguments as for `free_positions`."""
    first, second = _filled(tokenize, templates, fillers)
    if first.shape != second.shape:
        return [False] * len(templates.texts)
    return ((first != second).sum(1) == templates.texts[0].count(SLOT)).tolist()


def _filled(tokenize: Tokenize, templates: Templates, fillers: tuple[int, int]) -> tuple[Tensor, Tensor]:
    n, k = len(templates.texts), templates.texts[0].count(SLOT)
    rows = torch.arange(n)
    first, second = (tokenize(templates.write(torch.full((n, k), token), rows)) for token in fillers)
    return first, second


def round_trip(tokenize: Tokenize, templates: Templates, free: Tensor) -> Accept:
    """A test of whole rows: does what a user would type give the row again? ``free``: [n, k]."""

    def accept(rows: Tensor, prompts: Tensor) -> Tensor:
        texts = templates.write(rows.gather(1, free[prompts]), prompts)
        return (tokenize(texts).to(rows.device) == rows).all(1)

    return accept
