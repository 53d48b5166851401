"""Random words around a prompt, and words that nobody ever wrote.

The cheapest attack on a hardened encoder is a handful of words in front of the prompt: inside text that it
has never seen, an encoder falls back on what it was. Ordinary words are too few to train against that,
because an attacker has others. So most of the words here are made up of the pieces that the tokenizer makes
*any* word of; an encoder that ignores those ignores whatever an attacker finds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

LONG, SHORT = (1, 1, 2, 2, 3, 4), (0, 1, 1, 2, 2, 3)
"""Pieces of a made-up word before its last one, each as likely as the others. English words that are no
tokens of their own have three or four pieces in all; names of things are shorter."""
_LETTERS = (3, 14)
_MOST = 12
"""Words on one side of a prompt at most, and half as many on each side where there are two."""
_MANNERS = ("made up", "made up", "made up", "known", "whole", "pieces", "mixed", "mixed", "mixed")
"""What the words of one text are, each as likely as the others. Texts of one manner throughout, because an
attacker's are."""
_RISKY_TEXTS, _RISKY = 0.5, 0.3
"""Share of texts with words that read like a concept by themselves, and of such words in them."""
Weight = Annotated[int, Field(ge=0, le=100)]
Places = tuple[Weight, Weight, Weight, Weight]
"""How often words stand before a text, behind it, on both sides of it and within it: weights."""
PLACES: Places = (3, 2, 1, 1)
"""As often before a text as behind and around it: words in front are an attacker's first try."""


def mark_of_beginnings(vocabulary: Collection[str]) -> str:
    """What a token that begins a word starts with, where a vocabulary marks that: SentencePiece's ``▁``, or
    ``Ġ``, the space of byte-level ones; "" where it marks something else."""
    if any(token.startswith("\u2581") for token in vocabulary):
        return "\u2581"
    if any(token.startswith("##") or token.endswith("</w>") for token in vocabulary):
        return ""  # BERT's have Ġ as a letter, CLIP's as a byte
    return "\u0120" if any(token.startswith("\u0120") for token in vocabulary) else ""


@dataclass(frozen=True)
class WordPieces:
    """Pieces of words in a tokenizer's vocabulary: those that begin one, that go on, and that end one,
    and whole words; letters only, in lower case."""

    first: Sequence[str]
    inner: Sequence[str]
    last: Sequence[str]
    alone: Sequence[str]

    @staticmethod
    def of(tokenizer: Any) -> WordPieces:
        """Of byte-pair vocabularies that mark ends (CLIP: ``gun</w>``), of those that mark beginnings (T5:
        ``▁gun``; Qwen, Mistral: ``Ġgun``), and of those that mark what goes on (BERT: ``##gun``)."""
        vocabulary = list(tokenizer.get_vocab())

        def plain(pieces: Collection[str]) -> list[str]:
            return sorted({p for p in pieces if p.isascii() and p.isalpha() and p == p.lower()})

        if any(token.endswith("</w>") for token in vocabulary):
            inner = plain([t for t in vocabulary if not t.endswith("</w>")])
            last = plain([t.removesuffix("</w>") for t in vocabulary if t.endswith("</w>")])
            return WordPieces(inner, inner, last, last)
        if mark := mark_of_beginnings(vocabulary):
            first = plain([t.removeprefix(mark) for t in vocabulary if t.startswith(mark)])
            inner = plain([t for t in vocabulary if not t.startswith(mark)])
        else:
            first = plain([t for t in vocabulary if not t.startswith("##")])
            inner = plain([t.removeprefix("##") for t in vocabulary if t.startswith("##")])
        return WordPieces(first, inner, inner, first)

    def made_up(self, rng: random.Random, lengths: Sequence[int] = LONG) -> str:
        """A word of 3 to 14 letters; "" where the vocabulary has no pieces."""
        if not self.first or not self.last:
            return ""
        while True:
            before = rng.choice(lengths)
            pieces = [rng.choice(self.inner if k else self.first) for k in range(before)]
            word = "".join([*pieces, rng.choice(self.last if before else self.alone)])
            if _LETTERS[0] <= len(word) <= _LETTERS[1]:
                return word


@dataclass(frozen=True)
class RandomWords:
    """What random words are drawn from. Manners whose material is missing are not drawn.

    ``pieces``: see `WordPieces`. ``known``: words of safe captions. ``whole``: harmless words that are one
    token. ``risky``: words that read like a concept by themselves (terms, made-up words); now and then some
    are among the others, for an attacker finds such ones. ``allowed``: asked for every word. ``places``:
    where they stand.
    """

    pieces: WordPieces
    known: Sequence[str]
    whole: Sequence[str]
    risky: Sequence[str]
    allowed: Callable[[str], bool]
    places: Places = PLACES

    def some(self, rng: random.Random, most: int) -> list[str]:
        """One to ``most`` words of one manner; [] where there is nothing to draw from."""
        if not self._kinds:
            return []
        manner = rng.choice([m for m in _MANNERS if m == "mixed" or m in self._kinds])
        names = list(self._kinds)
        risk = _RISKY if self.risky and rng.random() < _RISKY_TEXTS else 0.0
        out = []
        for _ in range(rng.randint(1, most)):
            if rng.random() < risk:
                out.append(rng.choice(self.risky))
            else:
                out.append(self._kinds[rng.choice(names) if manner == "mixed" else manner](rng))
        return [word for word in out if self.allowed(word)]

    def around(self, text: str, rng: random.Random, *, inside: bool) -> str:
        """The text with random words before it, after it, around it, or (``inside``) at a place within."""
        where = rng.choice(self._places if inside else [p for p in self._places if p != "inside"])
        if where == "inside":
            words = text.split()
            place = rng.randint(1, max(1, len(words) - 1))
            return " ".join([*words[:place], *self.some(rng, _MOST // 3), *words[place:]])
        most = _MOST // 2 if where == "around" else _MOST
        before = self.some(rng, most) if where != "after" else []
        after = self.some(rng, most) if where != "before" else []
        comma = rng.choice(("", "", "", ","))
        parts = [" ".join(before) + comma * bool(before), text + comma * bool(after), " ".join(after)]
        return " ".join(part for part in parts if part)

    @cached_property
    def _places(self) -> Sequence[str]:
        names = ("before", "after", "around", "inside")
        return [n for n, weight in zip(names, self.places, strict=True) for _ in range(weight)]

    @cached_property
    def _kinds(self) -> Mapping[str, Callable[[random.Random], str]]:
        kinds: dict[str, Callable[[random.Random], str]] = {}
        if self.pieces.first and self.pieces.last:
            both = sorted({*self.pieces.first, *self.pieces.last})
            kinds["made up"] = self.pieces.made_up
            kinds["pieces"] = lambda rng: rng.choice(both)
        if self.known:
            kinds["known"] = lambda rng: rng.choice(self.known)
        if self.whole:
            kinds["whole"] = lambda rng: rng.choice(self.whole)
        return kinds
