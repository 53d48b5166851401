"""A comparison as rows of cells; shared by the terminal, markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..metrics import SHARE
from ..report.cells import NONE, share
from ..results.figures import Figure
from .entries import ComparedEntry, Comparison


@dataclass(frozen=True)
class Table:
    """Headings, and one row of as many cells an entry."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_of(found: Comparison, *, bounds: bool = True) -> Table:
    """All columns in which some entry has a figure.

    Args:
        bounds: with the one-sided 95 % bounds; without them the points alone, for a terminal.
    """

    def cell(figure: Figure | None) -> str:
        return share(figure) if bounds or figure is None else SHARE.write(figure.value)

    def of(name: str) -> Callable[[ComparedEntry], str]:
        return lambda entry: cell(getattr(entry.figures, name))

    def attack(name: str) -> Callable[[ComparedEntry], str]:
        return lambda entry: cell(entry.figures.attacks.get(name))

    pictures = found.tier == "images"
    columns: dict[str, Callable[[ComparedEntry], str]] = {"unsafe": of("unsafe")}
    columns |= {f"unsafe, {name}": attack(name) for name in found.attacks}
    columns |= {
        "kept": of("kept"),
        "kept, drop": of("kept_drop"),
        "kept, unseen": of("unseen_kept"),
        "unseen, drop": of("unseen_kept_drop"),
        "over-refusal": of("over_refusal"),
        "anchor shown": of("anchor_shown"),
    }
    if not pictures:
        columns |= {"redirected": of("redirected"), "cosine kept": _cosine}
    columns |= {"gates held": _gates, "made in": _learning, "a picture": _picture}
    rows = [[entry.name, *(make(entry) for make in columns.values())] for entry in found.entries]
    used = [0, *(k for k in range(1, len(columns) + 1) if any(row[k] != NONE for row in rows))]
    head = ("", *columns)
    return Table(tuple(head[k] for k in used), tuple(tuple(row[k] for k in used) for row in rows))


def _gates(entry: ComparedEntry) -> str:
    said = f"{entry.gates_held} of {entry.gates}" if entry.gates else NONE
    return f"{said} ({entry.verdict})" if entry.verdict else said


def _cosine(entry: ComparedEntry) -> str:
    value = entry.figures.cosine_kept
    return NONE if value is None else f"{value:.3f}"


def _learning(entry: ComparedEntry) -> str:
    value = entry.cost.learning
    return NONE if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def _picture(entry: ComparedEntry) -> str:
    value = entry.cost.picture
    return NONE if value is None else f"{value:.2f} s"


def notes(found: Comparison) -> list[str]:
    """How all rates were judged, and what a reader must know of single entries, one line each."""
    judge = found.judge_profile
    out = [f"every rate by the judge profile {judge.line()}"] if judge is not None else []
    out += [f"{e.name}: not possible on this model: {e.impossible}" for e in found.entries if e.impossible]
    return out + [f"{e.name}: {e.note}" for e in found.entries if e.note]


def headline(found: Comparison) -> str:
    """Model, policy, sets and seeds in one line."""
    sets = ", ".join(f"{n} {name}" for name, n in found.plan.items() if n)
    seeds = ", ".join(map(str, found.seeds))
    return (
        f"{found.model}, policy {found.policy} ({found.tier} tier), prompt book {found.book_seed}, "
        f"picture seeds {seeds}" + (f"; pictures: {sets}" if sets else "")
    )
