"""Safe captions of everyday scenes in the languages that policies have words in, written by hand.

A concept's words in a language must not be all that hardening ever reads in it: the language itself would
look unsafe.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..candidate import Candidate, PromptSource
from .corpus import read_corpus


class EverydayLanguages(PromptSource):
    """Training only, never measured, and taken whole, by models whose encoders read the language."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """The captions, language by language; no seed changes them."""
        return [
            Candidate(
                row["text"],
                "languages",
                train_only=True,
                on_unsafe_word="follow",
                whole=True,
                language=row["language"],
            )
            for row in read_corpus("everyday_languages").rows
        ]
