"""The standard random generator, begun anew for each of many rows, at less cost. Every row of a grammar has a
generator of its own, so that one more row changes no other; most of what such a row costs is to make it."""

from __future__ import annotations

import _random
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws(random.Random):
    """Draws what `random.Random` draws."""

    def at(self, number: int) -> Draws:
        """Itself, begun anew: draws what ``random.Random(number)`` would.

        Args:
            number: not negative.
        """
        _random.Random.seed(self, number)  # what `random.Random.seed` comes to for a number
        self.gauss_next = None
        return self

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        """As `random.Random.choice`, in one call instead of three."""
        n = len(seq)
        if not n:
            raise IndexError("cannot choose from an empty sequence")
        bits, draw = n.bit_length(), self.getrandbits
        place = draw(bits)
        while place >= n:
            place = draw(bits)
        return seq[place]
