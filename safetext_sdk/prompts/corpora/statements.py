"""Pairs of plain sentences: an unsafe one and the safe one that keeps its subject, for hardening.

Terms in templates teach a concept's words; these sentences teach how people write about it without them:
faces, traces, moods, consequences. Training only, never measured: many of them show too little for a detector
to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ..candidate import Pair, PromptSource
from .corpus import corpus_names, read_corpus


@cache
def _all() -> dict[str, tuple[Pair, ...]]:
    found: dict[str, list[Pair]] = {}
    for name in corpus_names():
        if name.startswith("statements/"):
            for row in read_corpus(name).rows:
                found.setdefault(row["concept"], []).append(Pair(row["unsafe"], row["safe"]))
    return {concept: tuple(pairs) for concept, pairs in found.items()}


class Statements(PromptSource):
    """A policy takes the pairs of a concept by ``{shipped: statements/<concept id>}``."""

    kind = "unsafe"

    def subsets(self) -> Sequence[str]:
        """Ids of the concepts that have pairs."""
        return list(_all())

    def pairs(self, subset: str) -> Sequence[Pair]:
        """The pairs of a concept, always the same."""
        return _all()[subset]
