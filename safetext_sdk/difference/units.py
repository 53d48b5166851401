"""The questions that both reports answered, each with its pictures.

A question is a prompt and a seed. Under an attack it is the prompt that the attack began from: its texts may
be others for each model, and any that gets through counts, as in the gates.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..results.report import Report
from ..results.rows import ResultRow

What = Literal["unsafe", "kept", "anchor_shown"]
NEWLY_UNSAFE, LOST, ANCHOR_GONE, NO_LONGER_UNSAFE, REGAINED, ANCHOR_BACK, STILL_UNSAFE, ALIKE = (
    "newly unsafe",
    "lost what A showed",
    "anchor no longer shown",
    "no longer unsafe",
    "regained what A had lost",
    "anchor now shown",
    "unsafe in both",
    "alike",
)
OUTCOMES = (NEWLY_UNSAFE, LOST, ANCHOR_GONE, NO_LONGER_UNSAFE, REGAINED, ANCHOR_BACK, STILL_UNSAFE, ALIKE)
"""What became of a question from A to B, the worst first; it has the first one that fits."""
STEPS: Mapping[What, tuple[str, str]] = {
    "unsafe": (NEWLY_UNSAFE, NO_LONGER_UNSAFE),
    "kept": (REGAINED, LOST),
    "anchor_shown": (ANCHOR_BACK, ANCHOR_GONE),
}
"""What it is called when an answer turns from no to yes, and from yes to no."""
WRONG = 3
"""So many of `OUTCOMES` became worse."""
FLIPPED = 6
"""So many of `OUTCOMES` are another outcome than before."""


@dataclass(frozen=True)
class Unit:
    """One question with its answers.

    Attributes:
        set: as tables list it.
        prompt: where an attack turned it into others, the one it began from.
        cluster: what goes together with it.
        a, b: the pictures that stand for both answers: one that got through, where some did.
        unsafe: whether some text of the prompt made a picture unsafe, in A and in B.
        was: whether the undefended model's picture kept what the prompt names, beside A and beside B; None
            where it is not known.
    """

    set: str
    prompt: str
    cluster: str
    a: ResultRow
    b: ResultRow
    unsafe: tuple[bool, bool]
    was: tuple[bool | None, bool | None]

    def values(self, what: What) -> tuple[bool | None, bool | None]:
        """The answer in A and in B; None where it is not known, or not the same question."""
        if what == "unsafe":
            return self.unsafe
        if what == "kept":
            return self.a.kept, self.b.kept
        return (self.a.anchor_shown, self.b.anchor_shown) if self.a.anchor == self.b.anchor else (None, None)

    @property
    def outcome(self) -> str:
        """What became of it, the worst that can be said."""
        found = set()
        for what, (gained, gone) in STEPS.items():
            before, after = self.values(what)
            if before is False and after is True:
                found.add(gained)
            elif before is True and after is False:
                found.add(gone)
        if all(self.unsafe):
            found.add(STILL_UNSAFE)
        return next((name for name in OUTCOMES if name in found), ALIKE)


def common_units(a: Report, b: Report) -> list[Unit]:
    """Every question that both hardened models answered, in the order of B's rows."""
    before, after = _answers(a.rows), _answers(b.rows)
    was_a, was_b = _originals(a.rows), _originals(b.rows)
    return [_unit(before[key], rows, was_a, was_b) for key, rows in after.items() if key in before]


def undefended_otherwise(a: Report, b: Report) -> dict[str, int]:
    """Of the undefended model's pictures that both reports have: how many, and how many were judged
    otherwise."""
    before, after = _originals(a.rows), _originals(b.rows)
    both = [(before[key], row) for key, row in after.items() if key in before]
    otherwise = sum((x.unsafe, x.kept) != (y.unsafe, y.kept) for x, y in both)
    return {"pictures": len(both), "otherwise": otherwise}


def _unit(
    a: Sequence[ResultRow],
    b: Sequence[ResultRow],
    was_a: dict[Hashable, ResultRow],
    was_b: dict[Hashable, ResultRow],
) -> Unit:
    first, second = _standing(a, b)
    known = (was_a.get(_text(first)), was_b.get(_text(second)))
    was_kept = tuple(None if row is None else row.kept for row in known)
    return Unit(
        set=second.listed_as,
        prompt=second.origin or second.prompt,
        cluster=second.cluster,
        a=first,
        b=second,
        unsafe=(any(r.unsafe for r in a), any(r.unsafe for r in b)),
        was=(was_kept[0], was_kept[1]),
    )


def _standing(a: Sequence[ResultRow], b: Sequence[ResultRow]) -> tuple[ResultRow, ResultRow]:
    """Of each side the row that tells its answer: one that got through where some did, and of these a text
    that both sides have, if there is one."""

    def telling(rows: Sequence[ResultRow]) -> list[ResultRow]:
        return [r for r in rows if r.unsafe] or list(rows)

    first, second = telling(a), telling(b)
    texts = {_text(r): r for r in first}
    shared = next((r for r in second if _text(r) in texts), None)
    return (texts[_text(shared)], shared) if shared is not None else (first[0], second[0])


def _answers(rows: Iterable[ResultRow]) -> dict[Hashable, list[ResultRow]]:
    """Question: rows of the hardened model that answer it."""
    out: dict[Hashable, list[ResultRow]] = {}
    for row in rows:
        if row.model == "hardened":
            # An attacker chooses texts and negative prompts: they keep nothing apart.
            given = (row.negative_prompt, row.guidance) if row.origin is None else ()
            key = (row.listed_as, row.origin or row.prompt, given, row.seed, row.concept)
            out.setdefault(key, []).append(row)
    return out


def _text(row: ResultRow) -> Hashable:
    return (row.listed_as, row.prompt, row.negative_prompt, row.guidance, row.seed, row.concept)


def _originals(rows: Iterable[ResultRow]) -> dict[Hashable, ResultRow]:
    return {_text(row): row for row in rows if row.model == "original" and not row.is_control}
