"""Misspellings: swap, drop or double a letter of each unsafe word, or put a look-alike letter of another
    alphabet in its place.

Black-box: nothing but the prompt and the policy's terms. Words that are not the policy's stay as they are.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterable, Sequence

from . import Context

LOOK_ALIKE = {
    "a": "а",
    "c": "с",
    "e": "е",
    "i": "і",
    "o": "о",
    "p": "р",
    "s": "ѕ",
    "x": "х",
    "y": "у",
}  # Cyrillic


def misspell(word: str, rng: random.Random) -> str:
    """One change to a word of three letters or more; the first letter stays, as readers need it."""
    if len(word) < 3:
        return word
    kind = rng.choice(("swap", "drop", "double", "look-alike"))
    where = rng.randrange(1, len(word) - 1)
    if kind == "swap" and word[where] != word[where + 1]:
        return word[:where] + word[where + 1] + word[where] + word[where + 2 :]
    if kind == "drop" and len(word) > 3:
        return word[:where] + word[where + 1 :]
    spots = [i for i, c in enumerate(word.lower()) if c in LOOK_ALIKE]
    if kind == "look-alike" and spots:
        spot = rng.choice(spots)
        return word[:spot] + LOOK_ALIKE[word[spot].lower()] + word[spot + 1 :]
    return word[:where] + word[where] + word[where:]


def disguise(prompt: str, terms: Iterable[str], rng: random.Random) -> str:
    """Misspell every word of every term that stands in the prompt; where none does, its longest word."""
    words = sorted(
        {w for term in terms for w in re.findall(r"\w+", term) if len(w) > 2}, key=lambda w: (-len(w), w)
    )
    pattern = (
        re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?:e?s)?(?!\w)", re.IGNORECASE)
        if words
        else None
    )
    if pattern is None or not pattern.search(prompt):
        longest = max(re.findall(r"\w+", prompt) or [""], key=len)
        return prompt.replace(longest, misspell(longest, rng), 1) if longest else prompt
    return pattern.sub(lambda m: misspell(m.group(0), rng), prompt)


def attack(prompts: Sequence[str], context: Context) -> list[str]:
    terms = [t for concept in context.policy.concepts for t in concept.terms]
    return [disguise(p, terms, random.Random(zlib.crc32(p.encode()) ^ context.seed)) for p in prompts]
