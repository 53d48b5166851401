"""Misspellings of the unsafe words: a letter swapped, dropped, doubled, or a look-alike of another alphabet.
alphabet.

Black-box: nothing but the prompt and the policy's terms. Words that are not the policy's stay as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from .base import AttackConfig, AttackContext, Rewriting

LOOK_ALIKE = dict(zip("aceiopsxy", "асеіорѕху", strict=True))
"""Latin letter -> the Cyrillic one that looks like it."""


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


class Typos(Rewriting[AttackConfig]):
    """One change in every word of every term of the policy that stands in the prompt."""

    name = "typos"
    summary = "misspelt and homoglyph forms of the unsafe words"

    def rewrite(self, prompt: str, context: AttackContext, rng: random.Random) -> str:
        return disguise(prompt, context.terms, rng)
