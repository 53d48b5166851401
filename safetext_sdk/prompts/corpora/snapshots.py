"""Plain captions of ordinary photographs as people write them, some of things that look like worse ones."""

from __future__ import annotations

from collections.abc import Sequence

from ..candidate import Candidate, PromptSource
from .corpus import read_corpus


class Snapshots(PromptSource):
    """Training only, never measured, and taken whole: they teach what ballast (random words) cannot."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """The captions; no seed changes them."""
        return [
            Candidate(text, "snapshots", train_only=True, on_unsafe_word="follow", whole=True)
            for text in read_corpus("snapshots").texts()
        ]
