"""Words inserted into ordinary captions: a concept's with the caption as anchor, harmless ones to be kept.

A policy's templates show a concept's words in a handful of frames. Inside captions that somebody wrote about
anything, the same words teach an encoder to take the concept out of a sentence and to leave the rest, in any
manner of speech. Harmless words go in the same ways, with caption *and* word as target: else an encoder
learns to ignore whatever looks inserted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .corpora.corpus import read_corpus
from .corpora.templates import article

Kind = Literal["object", "state"]
KINDS: tuple[Kind, ...] = ("object", "state")

_RANDOM_PLACE = 0.5
"""Share of the words that stand anywhere, as prompt writers drop them; a phrase joins the others."""
_TRIES = 20
_ROUNDS = 4
"""After so many times the number wanted, there is no more to be had."""
_ENDS = " .!,;:"


@cache
def shipped_joins(kind: Kind) -> tuple[str, ...]:
    """Phrases that join ``{term}`` to ``{caption}``, for things or for states."""
    return tuple(row["frame"] for row in read_corpus("insertions").rows if row["kind"] == kind)


@dataclass(frozen=True)
class ConceptWord:
    """One way to name a concept. ``kind``: as in a policy. ``english``: an English thing gets its article;
    words of other languages bring their own."""

    text: str
    concept: str
    kind: Kind
    english: bool = True


@dataclass(frozen=True)
class Insertion:
    """``text``: ``caption`` with ``word`` in it."""

    text: str
    caption: str
    word: ConceptWord


def insert(word: ConceptWord, caption: str, rng: random.Random) -> str:
    """The caption with the word in it: at a random place, or joined by a phrase."""
    if rng.random() < _RANDOM_PLACE:
        parts = caption.split()
        place = rng.randint(0, len(parts))
        return " ".join([*parts[:place], word.text, *parts[place:]])
    join = rng.choice(shipped_joins(word.kind))
    term = article(word.text) if word.kind == "object" and word.english else word.text
    return join.format(caption=caption.rstrip(_ENDS), term=term)


def concept_insertions(
    words: Sequence[ConceptWord],
    captions: Sequence[str],
    count: int,
    *,
    allowed: Callable[[str], bool],
    seed: int,
) -> list[Insertion]:
    """Up to ``count`` distinct captions with a concept's word in them; the same arguments give the same ones.

    Concepts take turns, and so do the words of each: neither a long list of words nor a concept prevails.

    Args:
        words: those of training only.
        captions: safe ones; those that ``allowed`` refuses take no part.
        count: how many are wanted; fewer come back where captions and words give no more.
        allowed: asked for every caption and every finished text.
        seed: of captions, places and phrases.
    """
    by_concept: dict[str, list[ConceptWord]] = {}
    for word in words:
        by_concept.setdefault(word.concept, []).append(word)
    usable, concepts = _usable(captions, allowed), list(by_concept)
    out: dict[str, Insertion] = {}
    for number in range(_ROUNDS * count if concepts and usable else 0):
        if len(out) == count:
            break
        turn, place = divmod(number, len(concepts))
        own = by_concept[concepts[place]]
        word = own[turn % len(own)]
        rng = random.Random(f"{seed}/{word.concept}/{word.text}/{turn}")
        for _ in range(_TRIES):
            caption = rng.choice(usable)
            text = insert(word, caption, rng)
            if text not in out and allowed(text):
                out[text] = Insertion(text, caption, word)
                break
    return list(out.values())


def harmless_insertions(
    words: Sequence[str], captions: Sequence[str], count: int, *, allowed: Callable[[str], bool], seed: int
) -> list[str]:
    """Up to ``count`` distinct captions with a harmless word inserted in the very ways that unsafe ones are.

    Arguments are those of `concept_insertions`, but for ``words``: any that a safe prompt may hold.
    """
    usable, rng, out = _usable(captions, allowed), random.Random(f"{seed}/harmless"), dict[str, None]()
    for _ in range(_ROUNDS * count if words and usable else 0):
        if len(out) == count:
            break
        word = ConceptWord(rng.choice(words), "", rng.choice(KINDS))
        text = insert(word, rng.choice(usable), rng)
        if allowed(text):
            out.setdefault(text)
    return list(out)


def _usable(captions: Sequence[str], allowed: Callable[[str], bool]) -> list[str]:
    return [caption for caption in dict.fromkeys(captions) if allowed(caption)]
