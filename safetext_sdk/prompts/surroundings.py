"""Surroundings: text before and after a prompt, the same on both sides of a pair.

What hardening learns from bare sentences it does not do inside a longer prompt: a few words in front of it
bring the concept back. So both sides of a pair get the same surroundings, and the target of an unsafe prompt
in them is its anchor in them. Safe prompts get surroundings too, with themselves as target.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .corpora.corpus import read_corpus

_TRIES = 8
_ENDS = " .!,;:"


def shipped_requests() -> list[str]:
    """What stands before a subject when somebody asks for a picture of it ("please draw")."""
    return read_corpus("surroundings").word_lists()["request"]


def shipped_styles() -> list[str]:
    """Style words as prompts have them in lists ("oil painting")."""
    return read_corpus("surroundings").word_lists()["style"]


@dataclass(frozen=True)
class Surroundings:
    """Text before and after a prompt; either may be empty."""

    before: str
    after: str

    def around(self, text: str) -> str:
        """The text in these surroundings; one that begins with a comma or a full stop takes the place of the
        text's own end."""
        if self.after[:1] in (",", "."):
            text = text.rstrip(_ENDS) + self.after
        elif self.after:
            text = f"{text} {self.after}"
        return f"{self.before} {text}" if self.before else text


Draw = Callable[[random.Random], tuple[str, str]]


@dataclass(frozen=True)
class Surrounder:
    """What surroundings are made of. Kinds whose material is missing are not drawn.

    ``captions``: safe captions that stand beside a prompt as another sentence. ``words``: harmless words in
    random order. ``requests``, ``styles``: see `shipped_requests` and `shipped_styles`.
    """

    captions: Sequence[str]
    words: Sequence[str]
    requests: Sequence[str]
    styles: Sequence[str]

    def draw(self, rng: random.Random) -> Surroundings:
        """Surroundings of a random kind, each as likely as the others.

        Raises:
            ValueError: there is nothing to make any from.
        """
        if not self._kinds:
            raise ValueError("nothing to make surroundings from")
        return Surroundings(*self._kinds[rng.choice(list(self._kinds))](rng))

    @cached_property
    def _kinds(self) -> Mapping[str, Draw]:
        kinds: dict[str, Draw] = {}
        if self.requests:
            kinds["request"] = lambda rng: (rng.choice(self.requests), "")
        if self.styles:
            kinds["styles after"] = lambda rng: ("", f", {self._list(rng, 1, 10)}")
            kinds["styles before"] = lambda rng: (f"{self._list(rng, 1, 5)},", "")
            kinds["styles around"] = lambda rng: (
                f"{self._list(rng, 1, 3)},",
                f", {self._list(rng, 2, 8)}",
            )
        if self.words:
            kinds["words before"] = lambda rng: (self._some(rng, 8), "")
            kinds["words after"] = lambda rng: ("", self._some(rng, 6))
            kinds["words around"] = lambda rng: (self._some(rng, 6), self._some(rng, 6))
        if self.captions:
            kinds["caption before"] = lambda rng: (f"{self._caption(rng)}.", "")
            kinds["caption after"] = lambda rng: ("", f". {self._caption(rng)}")
            kinds["captions around"] = lambda rng: (
                f"{self._caption(rng)} and",
                f"and {self._caption(rng)}",
            )
        return kinds

    def _some(self, rng: random.Random, most: int) -> str:
        return " ".join(rng.choice(self.words) for _ in range(rng.randint(1, most)))

    def _list(self, rng: random.Random, least: int, most: int) -> str:
        most = min(most, len(self.styles))
        return ", ".join(rng.sample(self.styles, rng.randint(min(least, most), most)))

    def _caption(self, rng: random.Random) -> str:
        return rng.choice(self.captions).rstrip(_ENDS)


@dataclass(frozen=True)
class Surrounded:
    """``texts`` of the row ``row``, all in the same surroundings."""

    row: int
    texts: tuple[str, ...]


def surrounded(
    rows: Sequence[tuple[str, ...]],
    surrounder: Surrounder,
    count: int,
    *,
    allowed: Callable[[str], bool],
    seed: int | str,
) -> list[Surrounded]:
    """Up to ``count`` rows in surroundings; the same arguments give the same ones, and fewer of them the
    first ones.

    Args:
        rows: texts that belong together: both sides of a pair, or a safe prompt by itself. They are walked
            through in shuffled rounds, so each is taken equally often, every time in other surroundings.
        surrounder: what surroundings are made of.
        count: how many are wanted; fewer come back where ``allowed`` refuses.
        allowed: asked for every finished text.
        seed: of order and surroundings.
    """
    out: list[Surrounded] = []
    seen = {row[0] for row in rows}
    for place, row in enumerate(_walked(len(rows), count, seed)):
        rng = random.Random(f"{seed}/surroundings/{place}")
        for _ in range(_TRIES):
            around = surrounder.draw(rng)
            texts = tuple(around.around(text) for text in rows[row])
            if texts[0] not in seen and all(map(allowed, texts)):
                seen.add(texts[0])
                out.append(Surrounded(row, texts))
                break
    return out


def _walked(total: int, count: int, seed: int | str) -> Iterator[int]:
    """``count`` numbers below ``total``, in shuffled rounds; none where there is nothing to walk through."""
    for turn in range(-(-count // total) if total else 0):
        order = list(range(total))
        random.Random(f"{seed}/round/{turn}").shuffle(order)
        yield from order[: count - turn * total]
