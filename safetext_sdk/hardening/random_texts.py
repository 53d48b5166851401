"""Texts with random and made-up words, for the shares of that name (`further_texts`).

* A prompt in random words is what it is without them: an unsafe one is its anchor, a safe one itself. The
  words must not stay in the target, because by themselves they may already be read as the concept: of
  pictures of an anchor prompt behind five random words the embedded model shows a weapon in one of six.
* A made-up word that the original reads like a concept's is another name of it; one that it reads otherwise
  stays what it is.
* A list of bare words of a concept is what people write into the negative prompt. Sent to the anchor, it
  would push every picture away from the anchor; so its target lies between the anchor and the empty prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ..methods.prompt_table import Pair
from ..prompts.prompt_book import UnsafePrompt
from ..prompts.random_words import RandomWords
from ..prompts.words import replace_first
from .look_alikes import MadeUpWords
from .retain_set import SafeText

T = TypeVar("T", Pair, SafeText)

_TRIES = 8
_BARE = 0.1
"""Share of prompts in random words that are a concept's word alone."""
_OTHER_NAMES = 0.1
"""Share of unsafe prompts in random words whose concept has a made-up name."""
_UNLISTED = 0.3
"""Share of safe prompts in random words whose subject has a made-up name."""
_LIST_WORDS = 7
_LIST_AND_NEGATIVE = 0.3
"""Share of lists that a common negative prompt stands beside."""


@dataclass(frozen=True)
class RandomTexts:
    """Writer of these texts; the same arguments give the same texts, and fewer of them the first ones.

    ``words``: for random words. ``made_up``: by what the original reads in them. ``rows``: the book's unsafe
    prompts of training that were written from a concept's word. ``allowed``: asked for every finished text.
    """

    words: RandomWords
    made_up: MadeUpWords
    rows: Sequence[UnsafePrompt]
    allowed: Callable[[str], bool]
    seed: int

    def in_random_words(self, count: int, bare_anchors: float = 0.0) -> list[Pair]:
        """Unsafe prompts in random words, each with its plain anchor; a share ``bare_anchors`` of them with
        the concept's anchor by itself."""

        def one(rng: random.Random) -> Pair | None:
            row, draw = rng.choice(self.rows), rng.random()
            if draw < _BARE:
                text = self._in_words(row.synonym, rng, inside=False)
                return Pair(text, self._bare_anchor[row.concept], row.concept, "random_words")
            bare = self._renamed(row, self.made_up.alike, rng) if draw < _BARE + _OTHER_NAMES else row.text
            text = self._in_words(bare, rng, inside=True)
            # Behind a whole prompt they come too late: a causal encoder has read it as if it were plain.
            alone = rng.random() < bare_anchors and not text.startswith(bare)
            anchor = self._bare_anchor[row.concept] if alone else row.anchor
            return Pair(text, anchor, row.concept, "random_words")

        return self._distinct("random_words", count, one) if self.rows else []

    def look_alikes(self, count: int) -> list[Pair]:
        """Unsafe prompts with a made-up name of their concept."""

        def one(rng: random.Random) -> Pair | None:
            row = rng.choice(self.rows)
            text = self._renamed(row, self.made_up.alike, rng)
            return Pair(text, row.anchor, row.concept, "look_alikes")

        return self._distinct("look_alikes", count, one) if self.rows and self.made_up.alike else []

    def term_lists(self, count: int, reach: float, negatives: Sequence[str]) -> list[Pair]:
        """Lists of a concept's words, some beside a common negative prompt."""
        by_concept: dict[str, list[UnsafePrompt]] = {}
        for row in self.rows:
            by_concept.setdefault(row.concept, []).append(row)

        def one(rng: random.Random) -> Pair | None:
            concept = rng.choice(list(by_concept))
            own = by_concept[concept]
            words = sorted({row.synonym for row in own})
            parts = rng.sample(words, rng.randint(1, min(_LIST_WORDS, len(words))))
            if negatives and rng.random() < _LIST_AND_NEGATIVE:
                parts.insert(rng.choice((0, len(parts))), rng.choice(negatives))
            text = rng.choice((", ", ", ", " ")).join(parts)
            return Pair(text, self._bare_anchor[concept], concept, "term_lists", reach)

        return self._distinct("term_lists", count, one) if by_concept else []

    def kept_in_random_words(self, texts: Sequence[str], count: int) -> list[SafeText]:
        """Safe prompts in random words, kept as they are without them."""

        def one(rng: random.Random) -> SafeText | None:
            bare = rng.choice(texts)
            if self.rows and self.made_up.unlike and rng.random() < _UNLISTED:
                bare = self._renamed(rng.choice(self.rows), self.made_up.unlike, rng)
            text = self._in_words(bare, rng, inside=False)
            return SafeText(text, "safe_random_words", bare)

        return self._distinct("safe_random_words", count, one) if texts else []

    def unlike(self, count: int) -> list[SafeText]:
        """The unsafe prompts' sentences about made-up things that are unlike any concept."""

        def one(rng: random.Random) -> SafeText | None:
            text = self._renamed(rng.choice(self.rows), self.made_up.unlike, rng)
            return SafeText(text, "unlike_words")

        return self._distinct("unlike_words", count, one) if self.rows and self.made_up.unlike else []

    def _in_words(self, bare: str, rng: random.Random, *, inside: bool) -> str:
        """The text in random words; "" where no word may stand there."""
        text = self.words.around(bare, rng, inside=inside) if bare else ""
        return text if text != bare else ""

    def _renamed(self, row: UnsafePrompt, names: Sequence[str], rng: random.Random) -> str:
        """The prompt with one of ``names`` for its concept's word; "" where that is not in it as it is
        written (misspelled, say)."""
        if not names:
            return row.text
        text = replace_first(row.text, row.synonym, rng.choice(names))
        return text if text != row.text else ""

    @cached_property
    def _bare_anchor(self) -> Mapping[str, str]:
        """By concept, the shortest of its anchors: the stand-in without a scene."""
        out: dict[str, str] = {}
        for row in sorted(self.rows, key=lambda r: (len(r.anchor.split()), len(r.anchor), r.anchor)):
            out.setdefault(row.concept, row.anchor)
        return out

    def _distinct(self, name: str, count: int, one: Callable[[random.Random], T | None]) -> list[T]:
        """Up to ``count`` distinct texts of a share."""
        out: dict[str, T] = {}
        for number in range(count):
            rng = random.Random(f"{self.seed}/{name}/{number}")
            for _ in range(_TRIES):
                made = one(rng)
                text = made.unsafe if isinstance(made, Pair) else made.text if made is not None else ""
                if made is not None and text and text not in out and self.allowed(text):
                    out[text] = made
                    break
        return list(out.values())
