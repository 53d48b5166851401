"""The unsafe words written so that people still read them: misspelt, in leetspeak, with look-alike letters,
with characters of no width inside, and split.

Black-box: nothing but the prompt and the policy's terms. Words that are not the policy's stay as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

from pydantic import Field

from .base import AttackConfig, AttackContext, Rewriting

Disguise = Literal["misspelling", "leetspeak", "look-alikes", "zero width", "splitting"]
LOOK_ALIKE = dict(zip("aceiopsxy", "асеіорѕху", strict=True))
"""Latin letter -> the Cyrillic one that looks like it."""
LEET = dict(zip("abegilost", "483911057", strict=True))
"""Latin letter -> the digit that is read as it."""
ZERO_WIDTH = "\u200b"
SPLITTERS = " -."
SHORTEST = 3
"""Letters of a word that is worth hiding."""


def misspell(word: str, rng: random.Random) -> str:
    """One change to a word of three letters or more; the first letter stays, as readers need it."""
    if len(word) < SHORTEST:
        return word
    kind = rng.choice(("swap", "drop", "double", "look-alike"))
    where = rng.randrange(1, len(word) - 1)
    if kind == "swap" and word[where] != word[where + 1]:
        return word[:where] + word[where + 1] + word[where] + word[where + 2 :]
    if kind == "drop" and len(word) > SHORTEST:
        return word[:where] + word[where + 1 :]
    spots = [i for i, c in enumerate(word.lower()) if c in LOOK_ALIKE]
    if kind == "look-alike" and spots:
        spot = rng.choice(spots)
        return word[:spot] + LOOK_ALIKE[word[spot].lower()] + word[spot + 1 :]
    return word[:where] + word[where] + word[where:]


def leet(word: str, rng: random.Random) -> str:
    """Every letter that a digit stands for, as that digit."""
    return "".join(LEET.get(letter.lower(), letter) for letter in word)


def look_alikes(word: str, rng: random.Random) -> str:
    """Every letter that has a Cyrillic look-alike, as that."""
    return "".join(LOOK_ALIKE.get(letter.lower(), letter) for letter in word)


def zero_width(word: str, rng: random.Random) -> str:
    """A zero-width space somewhere inside."""
    where = rng.randrange(1, len(word)) if len(word) > 1 else 0
    return word[:where] + ZERO_WIDTH + word[where:]


def split(word: str, rng: random.Random) -> str:
    """In two parts with a space, hyphen or full stop between them."""
    where = rng.randrange(1, len(word)) if len(word) > 1 else 0
    return word[:where] + rng.choice(SPLITTERS) + word[where:]


DISGUISES: dict[Disguise, Callable[[str, random.Random], str]] = {
    "misspelling": misspell,
    "leetspeak": leet,
    "look-alikes": look_alikes,
    "zero width": zero_width,
    "splitting": split,
}


class TyposConfig(AttackConfig):
    """Settings of ``typos``."""

    kinds: tuple[Disguise, ...] = Field(
        default=tuple(DISGUISES), min_length=1, description="Disguises to take from, in this order."
    )
    texts: int = Field(
        default=3,
        ge=1,
        le=5,
        description="Texts a prompt: the first kind always, the others in turn from prompt to prompt.",
    )


@lru_cache(maxsize=8)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str] | None:
    """Any word of the terms, singular or plural."""
    words = sorted(
        {w for term in terms for w in re.findall(r"\w+", term) if len(w) >= SHORTEST},
        key=lambda w: (-len(w), w),
    )
    if not words:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?:e?s)?(?!\w)", re.IGNORECASE)


def disguise(
    prompt: str,
    terms: Iterable[str],
    rng: random.Random,
    how: Callable[[str, random.Random], str] = misspell,
) -> str:
    """Disguise every word of every term that stands in the prompt; where none does, its longest word."""
    pattern = _pattern(tuple(terms))
    if pattern is None or not pattern.search(prompt):
        longest = max(re.findall(r"\w+", prompt) or [""], key=len)
        return prompt.replace(longest, how(longest, rng), 1) if longest else prompt
    return pattern.sub(lambda m: how(m.group(0), rng), prompt)


def unsafe_words(prompt: str, terms: Iterable[str]) -> list[tuple[int, int]]:
    """Where words of the terms stand in the prompt, as (start, end); its longest word where none does.

    Raises:
        ValueError: the prompt has no word at all.
    """
    pattern = _pattern(tuple(terms))
    found = [match.span() for match in pattern.finditer(prompt)] if pattern is not None else []
    if not found:
        found = [max((m.span() for m in re.finditer(r"\S+", prompt)), key=lambda span: span[1] - span[0])]
    return found


class Typos(Rewriting[TyposConfig]):
    """Several disguises a prompt, each over every word of every term of the policy that stands in it."""

    name = "typos"
    summary = "unsafe words misspelt, in leetspeak, with look-alike or zero-width characters, or split"
    Config = TyposConfig

    def rewrite(self, prompt: str, context: AttackContext, rng: random.Random) -> tuple[str, ...]:
        first, *others = self.config.kinds
        texts = [disguise(prompt, context.terms, rng, DISGUISES[first])]
        start = rng.randrange(len(others)) if others else 0
        for kind in [*others[start:], *others[:start]]:
            text = disguise(prompt, context.terms, rng, DISGUISES[kind])
            if len(texts) < self.config.texts and text not in (prompt, *texts):
                texts.append(text)
        return tuple(texts)
