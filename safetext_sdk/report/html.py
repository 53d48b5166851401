"""index.html: one file, no script, nothing loaded from elsewhere. Pictures that may be unsafe are blurred
until clicked."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..results.compute import Pair, pair_up
from ..results.rows import ResultRow
from ..results.summary import Summary
from . import cells

PAIRS_A_SET = 24
MAX_SIDE = 256


@dataclass(frozen=True)
class Side:
    """One picture of a card."""

    data: str | None
    unsafe: bool
    blur: bool
    shows: str | None
    kept: bool | None
    anchor_shown: bool | None


@dataclass(frozen=True)
class Card:
    """Both models on one question."""

    prompt: str
    negative: str
    seed: int
    anchor: str | None
    before: Side
    after: Side


@dataclass(frozen=True)
class Gallery:
    """Pairs of one set: the ones that went wrong first, then an even sample."""

    name: str
    meaning: str
    total: int
    wrong: int
    cards: tuple[Card, ...]


def picture_data(path: Path) -> str | None:
    """A picture as a data URI; large ones as a smaller JPEG. None where the file is gone or damaged."""
    from PIL import Image as PILImage

    try:
        if path.stat().st_size < 40_000 and path.suffix == ".png":
            return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        with PILImage.open(path) as image:
            small = image.convert("RGB")
        small.thumbnail((MAX_SIDE, MAX_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    except OSError:
        return None


def _interest(pair: Pair) -> tuple[int, int]:
    """(0 went wrong / 1 did not, order within): an unsafe picture is worse than a lost one, that worse than
    an anchor not seen."""
    before, after = pair
    faults = (after.unsafe, bool(before.kept) and after.kept is False, after.anchor_shown is False)
    return (0 if any(faults) else 1, faults.index(True) if any(faults) else 0 if before.unsafe else 1)


def _side(row: ResultRow, folder: Path) -> Side:
    return Side(
        data=picture_data(folder / row.image),
        unsafe=row.unsafe,
        # Blurred on suspicion too: a detector may have missed what the prompt asked for.
        blur=row.unsafe or (row.model == "original" and row.label == "unsafe"),
        shows=row.shows,
        kept=row.kept,
        anchor_shown=row.anchor_shown,
    )


def _card(pair: Pair, folder: Path) -> Card:
    before, after = pair
    sides = _side(before, folder), _side(after, folder)
    return Card(before.prompt, before.negative_prompt, before.seed, before.anchor, *sides)


def galleries(rows: Sequence[ResultRow], folder: Path, limit: int = PAIRS_A_SET) -> list[Gallery]:
    """Before/after pairs of every set, at most ``limit`` each."""
    out = []
    for name in dict.fromkeys(row.set for row in rows if not row.is_control):
        found = pair_up(row for row in rows if row.set == name)
        order = sorted(found, key=_interest)
        wrong = [p for p in order if _interest(p)[0] == 0]
        rest = [p for p in order if _interest(p)[0] == 1]
        room = max(limit - len(wrong[: limit * 3 // 4]), 0)
        even = rest[:: max(1, len(rest) // room)][:room] if room and rest else []
        chosen = [*wrong[: limit - len(even)], *even]
        made = tuple(_card(pair, folder) for pair in chosen)
        attacked = "unsafe prompts under this attack" if found and found[0][1].origin is not None else ""
        out.append(Gallery(name, cells.MEANING.get(name, attacked), len(found), len(wrong), made))
    return out


def two_lines(cell: str) -> Any:
    """ "3.1 % (1.2–6.0, n = 100)" with the bracket small and below: eight columns must fit a screen."""
    from markupsafe import Markup, escape

    point, _, rest = cell.partition(" (")
    return (
        Markup("{}<br><small>{}</small>").format(escape(point), escape(rest.rstrip(")")))
        if rest
        else escape(cell)
    )


def page(summary: Summary, rows: Sequence[ResultRow], folder: Path) -> str:
    """The whole page. All text from prompts and policies is escaped.

    Args:
        summary: with gates and verdict.
        rows: of the same report, for the gallery.
        folder: the report folder, where their pictures lie.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["two_lines"] = two_lines
    for show in (cells.gate_cell, cells.gate_original, cells.share):
        environment.globals[show.__name__] = show
    return environment.get_template("page.html.jinja").render(
        s=summary,
        sets=cells.set_cells(summary),
        attacks=cells.attack_cells(summary),
        attack_head=cells.ATTACK_HEAD,
        attack_notes=cells.attack_notes(summary),
        metrics=cells.metric_cells(summary),
        kept_note=cells.kept_note(summary),
        corrected=cells.corrected_cells(summary),
        corrected_note=cells.corrected_note(summary),
        encoder=cells.encoder_cells(summary),
        detectors=cells.detector_cells(summary),
        galleries=galleries(rows, folder),
        word=cells.verdict_word(summary),
        decision=cells.decision_lines(summary),
    )
