"""Who belongs to train, validation and test: by hash, so that one more word does not reshuffle all others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, TypeVar

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
SHARES: dict[SplitName, float] = {"train": 0.58, "validation": 0.12, "test": 0.30}
BORDERLINE_SHARES: dict[SplitName, float] = {"train": 0.25, "validation": 0.15, "test": 0.60}
"""Borderline lists are written by hand and short: most of them are for measuring."""
_TOKEN = re.compile(r"\w+")
H = TypeVar("H", bound=Hashable)


def digest(*parts: object) -> int:
    """A stable 64-bit number for the parts (the same on every machine and Python)."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


def by_hash(items: Iterable[H], *salt: object) -> list[H]:
    """The items without repetition, in the order of their hashes."""
    return sorted(dict.fromkeys(items), key=lambda item: (digest(*salt, item), str(item)))


def split_one(*parts: object, shares: dict[SplitName, float] = SHARES) -> SplitName:
    """The split of one item alone, by its hash."""
    share = digest("split", *parts) / 2**64
    if share < shares["train"]:
        return "train"
    return "validation" if share < shares["train"] + shares["validation"] else "test"


def assign(groups: Sequence[Sequence[str]], *salt: object, keep: Iterable[str] = ()) -> dict[str, SplitName]:
    """Hold out whole words: from every group some, in all the stated shares, chosen by hash.

    Args:
        groups: synonyms of one thing each; a group always keeps one word for training.
        keep: words that must be trained on.
    """
    out: dict[str, SplitName] = {}
    kept = set(keep)
    owed: dict[SplitName, float] = {
        "test": 0.0,
        "validation": 0.0,
    }  # what earlier groups were too small to give
    total = sum(len(set(g)) for g in groups)
    for group in groups:
        free = [w for w in by_hash(group, *salt, "assign") if w not in out and w not in kept]
        room = len(free) if any(w in kept for w in group) else len(free) - 1
        if total < 2:
            room = 0
        names: list[SplitName] = []
        for name in owed:
            owed[name] += SHARES[name] * len(group)
            take = max(0, min(int(owed[name] + 0.5), room - len(names)))
            owed[name] -= take
            names += [name] * take
        out.update(zip(free, names, strict=False))
        out.update({w: "train" for w in group if w not in out})
    return out


def contained(words: Iterable[str]) -> set[str]:
    """Words that stand inside another one ("knife" in "hunting knives"): held out, they would still be read
    in training."""
    unique = list(dict.fromkeys(words))
    finder = Words(unique)
    return {hit for text in unique for hit in finder.all(text) if hit != text}


class Words:
    """Finds words and phrases as whole words, singular or plural, whatever the case. Time does not grow with
    their number."""

    def __init__(self, words: Iterable[str]) -> None:
        self._single: dict[str, list[str]] = {}  # every form of a one-word term -> the terms
        self._phrases: dict[
            str, list[tuple[tuple[str, ...], frozenset[str], str]]
        ] = {}  # first word -> rest, forms of the last, term
        for word in dict.fromkeys(words):
            tokens = tokens_of(word)
            if not tokens:
                continue
            forms = frozenset((tokens[-1], tokens[-1] + "s", tokens[-1] + "es"))
            if len(tokens) == 1:
                for form in forms:
                    self._single.setdefault(form, []).append(word)
            else:
                self._phrases.setdefault(tokens[0], []).append((tokens[1:-1], forms, word))

    def all(self, text: str) -> list[str]:
        """The words that the text names, in the order of their places."""
        tokens = tokens_of(text)
        found: list[str] = []
        for i, token in enumerate(tokens):
            found += self._single.get(token, ())
            for middle, forms, word in self._phrases.get(token, ()):
                end = i + 1 + len(middle)
                if end < len(tokens) and tokens[i + 1 : end] == middle and tokens[end] in forms:
                    found.append(word)
        return found

    def search(self, text: str) -> str | None:
        """The first word that the text names, or None."""
        return next(iter(self.all(text)), None)


def tokens_of(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    return tuple(_TOKEN.findall(text.casefold()))
