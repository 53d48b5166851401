"""Pairs of plain sentences: an unsafe one and the safe one that keeps its subject, for hardening. Written for
    this project.

Terms in templates teach a concept's words; these sentences teach how people write about it without them:
faces, traces, moods, consequences. They stand in ``statements/<policy>.txt``, a pair a line: ``concept |
unsafe sentence | safe sentence``. Training only,
never measured: many of them show too little for a detector to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...errors import PolicyError
from ...policy.minors import WHY, combines

PREFIX = "statements/"
"""A policy takes the pairs of a concept by the shipped name ``statements/<concept id>``."""
_FOLDER = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Statement:
    """One pair."""

    text: str
    anchor: str


@cache
def _all() -> dict[str, tuple[Statement, ...]]:
    found: dict[str, list[Statement]] = {}
    for file in sorted(_FOLDER.glob("*.txt")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            parts = [part.strip() for part in line.split("|")]
            if len(parts) != 3 or not all(parts):
                raise PolicyError(
                    "a line is: concept | unsafe sentence | safe sentence", file=str(file), line=number
                )
            concept, text, anchor = parts
            if combines(text) or combines(anchor):
                raise PolicyError(f"a pair {WHY}", file=str(file), line=number)
            found.setdefault(concept, []).append(Statement(text, anchor))
    return {concept: tuple(rows) for concept, rows in found.items()}


def shipped_statements() -> list[str]:
    """Names of the shipped sets of pairs."""
    return [PREFIX + concept for concept in _all()]


def statements(name: str, field: str = "") -> tuple[Statement, ...]:
    """The pairs of a shipped set, always the same.

    Args:
        name: ``statements/<concept id>``.
        field: where the policy names it, for the error.

    Raises:
        PolicyError: there is no such set.
    """
    rows = _all().get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    if rows is None:
        raise PolicyError(
            f"no shipped set of unsafe prompts {name!r}", field=field, allowed=", ".join(shipped_statements())
        )
    return rows
