"""Safe captions that look unsafe: games, films and plays, lessons and prevention, feelings, papers and plans.

Short hand-written borderline prompts measure over-refusal; these longer ones hold the line in training, where
a policy would otherwise teach that every mention of harm is harm. Some hundred are written by hand, the rest
by a grammar.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from ...policy.minors import combines
from ..candidate import Candidate, PromptSource
from .corpus import distinct, read_corpus
from .templates import article

COUNT = 12_000
SHIPPED_COUNT = 3_000
"""All that were written by hand, and no more of the grammar's than leaves room for other safe prompts in a
training step."""
_SLOT = re.compile(r"\{([a-z]+)\}")
_BARE = frozenset(("mood",))


def _write(frame: str, words: dict[str, list[str]], rng: random.Random) -> str:
    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        word = rng.choice(words[name])
        # A style stands with its article except after a comma.
        return article(word) if name in _BARE and not frame[: match.start()].endswith(", ") else word

    text = frame
    while _SLOT.search(text):
        text = _SLOT.sub(put, text)
        frame = text
    return text


@cache
def captions(count: int = COUNT) -> tuple[Candidate, ...]:
    """The captions, distinct, always the same, those written by hand first; a smaller ``count`` gives the
    first ones."""
    written = [_candidate(text) for text in read_corpus("lookalikes").texts() if not combines(text)]
    grammar = read_corpus("lookalikes_grammar")
    words = grammar.word_lists()

    def candidate(frame: str, rng: random.Random) -> Candidate | None:
        text = _write(frame, words, rng)
        return None if combines(text) else _candidate(text, frame)

    more = distinct("lookalikes", grammar.texts("frame"), max(0, count - len(written)), candidate)
    return tuple([*written, *more][:count])


def _candidate(text: str, template: str = "") -> Candidate:
    return Candidate(text, "lookalikes", (), template, "borderline", True, "follow", True)


class Lookalikes(PromptSource):
    """Training only, never measured, taken whole; what names a held-out word is left out of the book."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """The captions; no seed changes them."""
        return captions(SHIPPED_COUNT)
