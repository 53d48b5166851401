"""Safe captions of everyday scenes, written by a grammar: people, animals, things, food, places, counts,
colours, relations, styles.

Hardening keeps what it is shown to keep, so the set is wide and needs no download. It is fixed: no seed
changes it. The head noun of a caption is its group, which a policy holds out as a whole; the frame is its
template, held out as well.

Some words of the data file have runs of spaces in them. A book shows each as one space, but orders captions
by hashes of the raw text: closing the gaps would reshuffle every book.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from ..candidate import Candidate, PromptSource
from .corpus import distinct, read_corpus
from .templates import COLOURS, article

COUNT = 24_000


_HEADS = frozenset(("person", "animal", "thing", "food", "vehicle", "building", "landscape"))
_COUNTABLE = _HEADS - {"food"}
_ARTICLE = re.compile(r"^an? ")
_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "sheep": "sheep",
    "deer": "deer",
    "goldfish": "goldfish",
    "fisherman": "fishermen",
    "postman": "postmen",
    "wolf": "wolves",
    "scarf": "scarves",
    "doll's house": "doll's houses",
}
_SLOT = re.compile(r"\{([a-z_]+)(?:\+([a-z]+))?\}")


def _plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def _write(frame: str, words: dict[str, list[str]], rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """One caption of a frame, and its head nouns."""
    heads: list[str] = []
    parts: list[str] = []
    for literal, first, second in _slots(frame):
        parts.append(literal)
        kind = second or first
        if not kind:
            continue
        noun = rng.choice(words[kind])
        if kind in _HEADS:
            heads.append(_ARTICLE.sub("", noun))
        if second:
            qualifier = rng.choice(words[first])
            noun = f"{qualifier} {_plural(noun)}" if first == "count" else article(f"{qualifier} {noun}")
        elif kind in _COUNTABLE:
            noun = article(noun)
        parts.append(noun)
    return "".join(parts), tuple(dict.fromkeys(heads))


@cache
def _slots(frame: str) -> list[tuple[str, str, str]]:
    """A frame in parts: the text before a slot, the slot's first and second name ("" where there is none)."""
    out, end = [], 0
    frame = frame.replace("{look} {person}", "{look+person}")
    for match in _SLOT.finditer(frame):
        out.append((frame[end : match.start()], match.group(1), match.group(2) or ""))
        end = match.end()
    return [*out, (frame[end:], "", "")]


@cache
def captions(count: int = COUNT) -> tuple[Candidate, ...]:
    """The shipped captions, distinct, always the same; a smaller ``count`` gives the first ones."""
    grammar = read_corpus("everyday")
    words = {**grammar.word_lists(), "colour": COLOURS}

    def candidate(frame: str, rng: random.Random) -> Candidate:
        text, heads = _write(frame, words, rng)
        return Candidate(text, "everyday", heads, frame, "everyday")

    return tuple(distinct("everyday", grammar.texts("frame"), count, candidate))


class Everyday(PromptSource):
    """Measured and trained on; the head noun of a caption is held out as a whole, and so is its frame."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """The captions; no seed changes them."""
        return captions()
