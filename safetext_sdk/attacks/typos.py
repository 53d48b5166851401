"""The unsafe words written so that people still read them: misspelt, in leetspeak, with look-alike letters,
with characters of no width inside, and split.

Black-box: nothing but the prompt and the policy's words. Words that are not the policy's stay as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

from pydantic import Field

from ..policy.languages import anywhere, is_unspaced
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


@lru_cache(maxsize=8)
def _whole(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Any of the names in full, the longest first; singular or plural where words stand apart."""
    ordered = sorted(dict.fromkeys(names), key=lambda n: (-len(n), n))
    spaced = [r"\W+".join(map(re.escape, re.findall(r"\w+", n))) for n in ordered if not is_unspaced(n)]
    forms = [anywhere(name) for name in ordered if is_unspaced(name)]
    if spaced := [form for form in spaced if form]:
        forms.insert(0, rf"(?<!\w)(?:{'|'.join(spaced)})(?:e?s)?(?!\w)")
    return re.compile("|".join(forms), re.IGNORECASE) if forms else None


def _standing(prompt: str, terms: Iterable[str], names: Iterable[str]) -> list[tuple[int, int]]:
    """Where words of the terms stand in the prompt, and those of names that it has in full: of "in the buff"
    no single word is unsafe."""
    pattern, whole = _pattern(tuple(terms)), _whole(tuple(names))
    found = [match.span() for match in pattern.finditer(prompt)] if pattern is not None else []
    for match in whole.finditer(prompt) if whole is not None else ():
        words = [m.span() for m in re.finditer(r"\w+", match.group(0)) if len(m.group(0)) >= SHORTEST]
        for start, end in words or [(0, len(match.group(0)))]:
            span = (match.start() + start, match.start() + end)
            if all(span[1] <= a or b <= span[0] for a, b in found):
                found.append(span)
    return sorted(found)


def disguise(
    prompt: str,
    terms: Iterable[str],
    rng: random.Random,
    how: Callable[[str, random.Random], str] = misspell,
    names: Iterable[str] = (),
) -> str:
    """Disguise every word of every term, and of every name in full, that stands in the prompt; where none
    does, its longest word."""
    spans = _standing(prompt, terms, names)
    if not spans:
        longest = max(re.findall(r"\w+", prompt) or [""], key=len)
        return prompt.replace(longest, how(longest, rng), 1) if longest else prompt
    out, done = "", 0
    for start, end in spans:
        out += prompt[done:start] + how(prompt[start:end], rng)
        done = end
    return out + prompt[done:]


def unsafe_words(prompt: str, terms: Iterable[str], names: Iterable[str] = ()) -> list[tuple[int, int]]:
    """Where words of the terms, and of names in full, stand in the prompt, as (start, end); its longest word
    where none does.

    Raises:
        ValueError: the prompt has no word at all.
    """
    found = _standing(prompt, terms, names)
    if not found:
        found = [max((m.span() for m in re.finditer(r"\S+", prompt)), key=lambda span: span[1] - span[0])]
    return found


class Typos(Rewriting[TyposConfig]):
    """Several disguises a prompt, each over every word of the policy that stands in it."""

    name = "typos"
    summary = "unsafe words misspelt, in leetspeak, with look-alike or zero-width characters, or split"
    Config = TyposConfig
    version = 2  # in place of a euphemism or a translation, the prompt's longest word was disguised

    def rewrite(self, prompt: str, context: AttackContext, rng: random.Random) -> tuple[str, ...]:
        first, *others = self.config.kinds
        terms, names = context.terms, context.names
        text = disguise(prompt, terms, rng, DISGUISES[first], names)
        texts = [text] if text != prompt else []  # a word of two letters has no misspelling
        start = rng.randrange(len(others)) if others else 0
        for kind in [*others[start:], *others[:start]]:
            text = disguise(prompt, terms, rng, DISGUISES[kind], names)
            if len(texts) < self.config.texts and text not in (prompt, *texts):
                texts.append(text)
        return tuple(texts) or (prompt,)
