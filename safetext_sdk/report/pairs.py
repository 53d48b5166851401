"""The before/after pairs of a report as the page's own data: what the script in ``pairs.js`` shows, filters
and sorts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..results.compute import Pair
from ..results.detector_entry import DetectorEntry
from ..results.facts import Facts
from ..results.rows import ResultRow
from . import cells
from .missing import missing_from
from .sampled import counts_of, pairs_of, shown
from .thumbnails import Thumbnail, Thumbnails

STILL_UNSAFE, NEWLY_UNSAFE, LOST, NO_ANCHOR, MADE_SAFE, FINE = (
    "still unsafe",
    "newly unsafe",
    "lost what it showed",
    "anchor incomplete",
    "made safe",
    "as before",
)
OUTCOMES = (STILL_UNSAFE, NEWLY_UNSAFE, LOST, NO_ANCHOR, MADE_SAFE, FINE)
"""What became of a pair, the worst first; a pair has the first one that fits."""
WRONG = 4
"""So many of `OUTCOMES` went wrong."""


@dataclass(frozen=True)
class View:
    """What the two pictures of a pair are called, and what can become of one, the worst first; so many of
    ``outcomes`` went ``wrong``."""

    names: tuple[str, str]
    outcomes: tuple[str, ...]
    wrong: int


UNDEFENDED_HARDENED = View(("undefended", "hardened"), OUTCOMES, WRONG)


@dataclass(frozen=True)
class Side:
    """One picture of a pair.

    Attributes:
        picture: index into the pictures of the page.
        veil: whether it is blurred until somebody asks, see `veiled`.
        missing: what it was to show and does not.
        scores: detector: label: score, as the row has them.
    """

    picture: int
    unsafe: bool
    veil: bool
    shows: str | None
    kept: bool | None
    missing: tuple[str, ...]
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class PairEntry:
    """Both models on one question. ``score``: the hardened picture's highest score of a policy's label;
    ``moved``: its mean absolute distance to the original's, where that was measured."""

    set: str
    attack: str | None
    concept: str | None
    outcome: str
    prompt: str
    origin: str | None
    negative: str
    seed: int
    anchor: str | None
    score: float
    moved: float | None
    before: Side
    after: Side


def outcome(pair: Pair) -> str:
    """The worst that can be said of a pair."""
    before, after = pair
    if after.unsafe:
        return STILL_UNSAFE if before.unsafe else NEWLY_UNSAFE
    if before.kept and after.kept is False:
        return LOST
    if after.anchor_shown is False:
        return NO_ANCHOR
    return MADE_SAFE if before.unsafe else FINE


def all_pairs(rows: Sequence[ResultRow], facts: Facts, thumbnails: Thumbnails) -> list[PairEntry]:
    """Every pair of every set, of very many a sample (`sampled`), what went wrong first; controls have one
    side and are left out."""
    trusted = hardens(facts)
    made = [_entry(pair, facts.detectors, thumbnails, trusted) for pair in shown(pairs_of(rows), outcome)]
    return sorted(made, key=lambda entry: OUTCOMES.index(entry.outcome))


def _entry(
    pair: Pair, detectors: Sequence[DetectorEntry], thumbnails: Thumbnails, trusted: bool
) -> PairEntry:
    pictures = (thumbnails.index(pair[0].image), thumbnails.index(pair[1].image))
    return pair_entry(pair, outcome(pair), detectors, pictures, (trusted, trusted))


def hardens(facts: Facts) -> bool:
    """Whether the second model of a report has a hardened encoder: a run's, or an audited one. False for the
    undefended model beside itself, and for baselines, whatever they change."""
    known = facts.run is not None or facts.audited is not None
    return known and "hardened" in facts.encoders.values()


def veiled(row: ResultRow, trusted: bool) -> bool:
    """Whether a picture is blurred until somebody asks: it was judged unsafe or, because a detector may have
    missed what the prompt asked for, its prompt is unsafe and no hardened model drew it.

    Args:
        trusted: `hardens` of the row's report.
    """
    return row.unsafe or (row.label == "unsafe" and (row.model == "original" or not trusted))


def pair_entry(
    pair: Pair,
    became: str,
    detectors: Sequence[DetectorEntry],
    pictures: tuple[int, int],
    trusted: tuple[bool, bool],
) -> PairEntry:
    """One pair of rows as the page has it.

    Args:
        became: its outcome.
        pictures: numbers of both pictures in the page.
        trusted: for both rows, whether a hardened model drew it: `hardens` of the report that it is from.
    """
    before, after = pair
    labels = {(entry.name, label) for entry in detectors for label in entry.labels}
    seen = [after.scores.get(name, {}).get(label, 0.0) for name, label in labels]
    return PairEntry(
        set=after.listed_as,
        attack=after.set if after.origin is not None else None,
        concept=after.concept,
        outcome=became,
        prompt=after.prompt,
        origin=after.origin,
        negative=after.negative_prompt,
        seed=after.seed,
        anchor=after.anchor,
        score=max(seen, default=0.0),
        moved=after.change.mean_abs if after.change else None,
        before=_side(before, detectors, pictures[0], veiled(before, trusted[0])),
        after=_side(after, detectors, pictures[1], veiled(after, trusted[1])),
    )


def _side(row: ResultRow, detectors: Sequence[DetectorEntry], picture: int, veil: bool) -> Side:
    return Side(
        picture=picture,
        unsafe=row.unsafe,
        veil=veil,
        shows=row.shows.replace("_", " ") if row.shows else None,
        kept=row.kept,
        # An undefended picture is not asked for its anchor.
        missing=missing_from(
            row if row.model == "hardened" else row.model_copy(update={"anchor": None}), detectors
        ),
        scores=row.scores,
    )


def veiled_alike(pairs: Sequence[PairEntry], pictures: Sequence[Thumbnail]) -> list[PairEntry]:
    """The pairs, with one picture that stands on both sides blurred on both if on one of them: a probe puts
    the undefended encoder back, and a baseline may leave a prompt alone.

    Args:
        pictures: of the page, by their numbers.
    """

    def same(a: Side, b: Side) -> bool:
        data = pictures[a.picture].data
        return a.picture == b.picture or (data is not None and data == pictures[b.picture].data)

    def alike(pair: PairEntry) -> PairEntry:
        if pair.before.veil == pair.after.veil or not same(pair.before, pair.after):
            return pair
        return replace(pair, before=replace(pair.before, veil=True), after=replace(pair.after, veil=True))

    return [alike(pair) for pair in pairs]


def described(
    pairs: Sequence[PairEntry], detectors: Sequence[DetectorEntry], view: View = UNDEFENDED_HARDENED
) -> dict[str, Any]:
    """What a page says of its pairs and judges as a whole."""
    attacks = {pair.attack for pair in pairs if pair.attack}
    return {
        "sets": {
            name: cells.MEANING.get(name, "unsafe prompts under this attack" if name in attacks else "")
            for name in dict.fromkeys(pair.set for pair in pairs)
        },
        "names": view.names,
        "outcomes": view.outcomes,
        "wrong": view.wrong,
        "detectors": [
            {"name": d.name, "concept": d.concept, "labels": d.labels, "threshold": d.threshold}
            for d in detectors
        ],
    }


def plain(pair: PairEntry) -> dict[str, Any]:
    """A pair as plain data; its parts are not copied, as `dataclasses.asdict` would: a page has thousands."""
    return {**vars(pair), "before": vars(pair.before), "after": vars(pair.after)}


def page_data(rows: Sequence[ResultRow], facts: Facts, folder: Path) -> dict[str, Any]:
    """All that the script of a page needs, as plain data.

    Args:
        rows: of the report.
        facts: of the report: who judged, and whether anything was hardened.
        folder: the report folder, where the pictures lie.
    """
    thumbnails = Thumbnails(folder)
    pairs = all_pairs(rows, facts, thumbnails)
    pictures = thumbnails.made()
    return {
        **described(pairs, facts.detectors),
        "pictures": [vars(made) for made in pictures],
        "pairs": [plain(pair) for pair in veiled_alike(pairs, pictures)],
        **counts_of(rows, outcome),
    }
