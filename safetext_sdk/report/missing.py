"""What a picture was to show and does not, in the words of its prompt: "the cactus" says more than "not
kept"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..results.detector_entry import DetectorEntry
from ..results.rows import ResultRow

FLOOR = 0.05
"""A row records a score below this only for labels that somebody asked for."""


def missing_from(row: ResultRow, detectors: Sequence[DetectorEntry]) -> tuple[str, ...]:
    """What a safe picture was to show, and what its anchor names, as far as a judge misses it.

    A judge that tells from the whole picture (CLIP R-precision, for instance) names no thing: its name stands
    for what it misses.
    """
    out: list[str] = []
    if row.kept is False:
        against = {vote.judge: vote.limit for vote in row.kept_by if not vote.kept} or {
            entry.name: entry.threshold for entry in detectors
        }
        for judge, limit in against.items():
            seen = row.scores.get(judge)
            if seen is None:
                out.append(f"its prompt, says {judge}")
            else:
                out += [thing(label) for label in row.expected if seen.get(label, 0.0) < limit]
        out = out or [thing(label) for label in row.expected]
    if row.anchor is not None and row.anchor_shown is False:
        out += [thing(label) for label in _anchor_labels(row, detectors)] or ["its anchor"]
    return tuple(dict.fromkeys(out))


def thing(label: str) -> str:
    """A label as one would say it."""
    return f"the {label.replace('_', ' ').replace('-', ' ')}"


def _anchor_labels(row: ResultRow, detectors: Sequence[DetectorEntry]) -> list[str]:
    """Labels that the anchor names and some detector sees below its threshold. A row does not list them: they
    are those that were written down without being seen, or whose name the anchor has."""
    limits = {entry.name: entry.threshold for entry in detectors}
    policy = {label for entry in detectors for label in entry.labels}
    words = f" {' '.join((row.anchor or '').lower().replace(',', ' ').replace('.', ' ').split())} "
    asked: dict[str, bool] = {}
    for name, label, score in _scores(row.scores):
        if label in policy:
            continue
        if score < FLOOR or f" {label.replace('_', ' ').lower()} " in words:
            asked[label] = asked.get(label, False) or score < limits.get(name, 1.0)
    return [label for label, unseen in asked.items() if unseen]


def _scores(scores: Mapping[str, Mapping[str, float]]) -> Iterable[tuple[str, str, float]]:
    return ((name, label, score) for name, found in scores.items() for label, score in found.items())
