"""Who belongs to train, validation and test: by hash, so that one more word reshuffles no other."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, TypeVar

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
SHARES: dict[SplitName, float] = {"train": 0.58, "validation": 0.12, "test": 0.30}
BORDERLINE_SHARES: dict[SplitName, float] = {"train": 0.25, "validation": 0.15, "test": 0.60}
"""Borderline lists are written by hand and short: most of them are for measuring."""
H = TypeVar("H", bound=Hashable)


def digest(*parts: object) -> int:
    """A stable 64-bit number for the parts (the same on every machine and Python)."""
    text = "\x1f".join(map(str, parts))
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


def latest(splits: Iterable[SplitName]) -> SplitName | None:
    """The split that is furthest from training (test before validation before train); None for none."""
    return max(splits, key=SPLITS.index, default=None)
