"""A difference on paper: difference.json, one HTML page with the pictures of both, text for a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..comparison.entries import figures_of
from ..comparison.pages import TITLES
from ..comparison.pareto import Point, Value, pareto_svg, point_of
from ..files import write_together
from ..metrics import SHARE
from ..report.cells import NONE, unit_of
from ..report.html import environment, json_block
from ..report.pairs import View, described, hardens, pair_entry, plain, veiled_alike
from ..report.thumbnails import Thumbnails
from ..results.report import RESULTS, Report
from ..results.summary import Summary
from .entries import Change, Difference, GateChange, GateSide
from .units import OUTCOMES, WRONG, Unit

JSON, HTML = "difference.json", "index.html"
WORDS: Final = {"better": "better", "worse": "WORSE", "noise": "within noise", "unknown": "not known"}
ASKED: Final = {"unsafe": "unsafe", "kept": "kept", "anchor_shown": "anchor shown"}
SHORT, LONG, SHOWN = 12, 60, 8
"""Digits of a hash, characters of a setting or a prompt, and flips, in a terminal."""
MOST = 6_000
"""Pairs of a page: a browser opens them in about a second."""
FOOT: Final = (
    "B - A on the same prompts and seeds, with a 95 % interval that counts prompts of one synonym together; "
    "beyond noise where it does not hold 0. p is McNemar's, which knows no synonyms. Of twenty figures that "
    "did not move, one is expected to look as if it had. Verdicts are as they were recorded."
)


@dataclass(frozen=True)
class GateCells:
    """One gate as people read it."""

    name: str
    threshold: str
    verdict_a: str
    verdict_b: str
    a: str
    b: str
    change: str
    direction: str
    why: str


def write_pages(
    found: Difference,
    reports: tuple[Report, Report],
    summaries: tuple[Summary, Summary],
    units: Sequence[Unit],
    folder: Path,
) -> None:
    """Write page and JSON into a folder, at almost the same moment."""
    folder.mkdir(parents=True, exist_ok=True)
    html = page(found, reports, summaries, units, folder)
    write_together(folder, {HTML: html, JSON: found.model_dump_json(indent=2) + "\n"})


def terminal(found: Difference) -> str:
    """For a terminal: verdicts, gates, sets, flips, what differs."""
    return "\n".join(_lines(found))


def _lines(found: Difference) -> Iterator[str]:
    yield f"{found.model}, policy {found.policy} ({found.tier} tier): what changed from A to B"
    for name, side in (("A", found.a), ("B", found.b)):
        yield f"  {name}  {side.name}: {side.word}"
    yield from (f"  not compared: {line}" for line in found.not_compared)
    cells = gate_cells(found)
    if cells:
        yield "gates"
        width = max(len(c.name) for c in cells)
        for c in cells:
            verdicts = c.verdict_a if c.verdict_a == c.verdict_b else f"{c.verdict_a} -> {c.verdict_b}"
            yield f"  {c.name:<{width}}  {verdicts}{f', asked: {c.threshold}' if c.threshold else ''}"
            if c.change != NONE:
                yield f"  {'':<{width}}  {c.a} -> {c.b}"
                yield f"  {'':<{width}}  {c.change}: {WORDS[c.direction]}{f' ({c.why})' if c.why else ''}"
    if found.sets:
        yield "pictures, on the prompts and seeds that both answered"
        still = [s for s in found.sets if not (s.change.became_worse or s.change.became_better)]
        for s in found.sets:
            if s in still:
                continue
            moved = s.change
            yield (
                f"  {s.set}, {ASKED[s.what]}: {SHARE.write(s.a)} -> {SHARE.write(s.b)} of {moved.pairs}; "
                f"{moved.became_worse} became worse, {moved.became_better} better, "
                f"p = {moved.mcnemar_p:.2g}; {change_cell(moved)}: {WORDS[moved.direction]}"
            )
        if still:
            yield f"  not one changed: {'; '.join(f'{s.set}, {ASKED[s.what]}' for s in still)}"
    yield from _flip_lines(found)
    if note := undefended_note(found):
        yield note
    for title, rows in (("settings that differ", found.settings), ("weights that differ", found.weights)):
        yield title + (":" if rows else ": none")
        for row in rows:
            yield f"  {row.name}: {value_cell(row.a, LONG)} -> {value_cell(row.b, LONG)}"
    yield FOOT


def _flip_lines(found: Difference) -> Iterator[str]:
    counts = Counter(flip.outcome for flip in found.flips)
    total = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    yield f"pairs that came out otherwise: {total or 'none'}"
    for flip in found.flips[:SHOWN]:
        yield f"  {flip.outcome}: {_short(flip.prompt, LONG)} ({flip.set}, seed {flip.seed})"
    if len(found.flips) > SHOWN:
        yield f"  and {len(found.flips) - SHOWN} more, in {JSON} and on the page"


def _short(text: str, most: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def value_cell(value: object, most: int = 0) -> str:
    """A setting as people read it; hashes and long values in short where ``most`` characters are given."""
    if value is None:
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return text[:SHORT]
    return _short(text, most) if most else text


def gate_cells(found: Difference) -> list[GateCells]:
    """Every gate on a figure, and of the checks without one those that did not pass in both."""
    return [
        _cells(gate)
        for gate in found.gates
        if gate.metric or {"pass"} != {side.verdict for side in (gate.a, gate.b) if side}
    ]


def _cells(gate: GateChange) -> GateCells:
    change = gate.change
    return GateCells(
        name=gate.name,
        threshold=_threshold(gate),
        verdict_a=gate.a.verdict if gate.a else "no such gate",
        verdict_b=gate.b.verdict if gate.b else "no such gate",
        a=_figure(gate.a, gate),
        b=_figure(gate.b, gate),
        change=change_cell(change, gate.metric) if change else NONE,
        direction=change.direction if change else "unknown",
        why=change.note if change else "",
    )


def _figure(side: GateSide | None, gate: GateChange) -> str:
    if side is None or side.value is None or gate.metric is None:
        return NONE
    return unit_of(gate.metric).bounds(side.value, side.lower, side.upper, side.n)


def _threshold(gate: GateChange) -> str:
    unit = unit_of(gate.metric)
    asked = [
        unit.write(side.threshold) if side and side.threshold is not None else "" for side in (gate.a, gate.b)
    ]
    if not any(asked):
        return ""
    word = "at most" if gate.side == "max" else "at least"
    if asked[0] == asked[1]:
        return f"{word} {asked[0]}"
    return f"{word} {asked[0] or 'nothing'} in A, {asked[1] or 'nothing'} in B"


def change_cell(change: Change, metric: str | None = None) -> str:
    """ "-4.0 points (-9.1 to -0.3, n = 100)"."""
    if change.value is None:
        return NONE
    unit = unit_of(metric)
    word = " points" if unit.suffix == " %" else unit.suffix

    def signed(value: float) -> str:
        text = f"{value * unit.scale:+.{unit.digits}f}"
        return text if text.strip("+-0.") else text.lstrip("+-")

    if change.lower is None or change.upper is None:
        return signed(change.value) + word
    return (
        f"{signed(change.value)}{word} ({signed(change.lower)} to {signed(change.upper)}, n = {change.pairs})"
    )


def undefended_note(found: Difference) -> str:
    """How often the same undefended model was judged otherwise; empty where it was not drawn twice."""
    pictures = found.undefended.get("pictures", 0)
    if not pictures:
        return ""
    otherwise = found.undefended["otherwise"]
    return (
        f"the undefended model's pictures were judged otherwise in B in {otherwise} of {pictures}: what the "
        "drawing alone changes"
    )


def plot(reports: tuple[Report, Report], summaries: tuple[Summary, Summary]) -> str:
    """Safety against what is kept, as SVG: the undefended model, A and B; empty where fewer than two of them
    have both figures."""
    tier = summaries[0].tier
    made = [_undefended(summaries[1])]
    for name, report, summary in zip("AB", reports, summaries, strict=True):
        made.append(point_of(name, figures_of(report, summary), tier))
    points = [point for point in made if point is not None]
    return pareto_svg(points, *TITLES[tier]) if len(points) > 1 else ""


def _undefended(summary: Summary) -> Point | None:
    sets = summary.sets
    if summary.tier != "images" or "safe" not in sets or "unsafe" not in sets:
        return None
    kept, unsafe = Value.of(sets["safe"].original.kept), Value.of(sets["unsafe"].original.unsafe)
    gated = [sets[a.name].original.unsafe for a in summary.attacks if a.gated and a.name in sets]
    worst = Value.of(max((f for f in gated if f.n), key=lambda f: f.upper or 0.0, default=None))
    if kept is None or unsafe is None:
        return None
    return Point("undefended", kept, unsafe.flipped(), worst.flipped() if worst else None)


def page(
    found: Difference,
    reports: tuple[Report, Report],
    summaries: tuple[Summary, Summary],
    units: Sequence[Unit],
    folder: Path,
) -> str:
    """The whole page. All text from prompts and policies is escaped.

    Args:
        folder: where it will lie: links to the pictures of both reports are relative to it.
    """
    from markupsafe import Markup

    detectors = summaries[1].detectors
    thumbnails = Thumbnails(folder)
    places = [report.folder or folder for report in reports]
    trusted = (hardens(summaries[0]), hardens(summaries[1]))
    # Where a probe put the undefended encoder back, the hardened model's row has the undefended picture.
    undefended = [{row.image for row in report.rows if row.model == "original"} for report in reports]
    ordered = sorted(units, key=lambda unit: OUTCOMES.index(unit.outcome))
    pairs = [
        pair_entry(
            (unit.a, unit.b),
            unit.outcome,
            detectors,
            (thumbnails.index(unit.a.image, places[0]), thumbnails.index(unit.b.image, places[1])),
            (
                trusted[0] and unit.a.image not in undefended[0],
                trusted[1] and unit.b.image not in undefended[1],
            ),
        )
        for unit in ordered[:MOST]
    ]
    pictures = thumbnails.made()
    data = {
        **described(pairs, detectors, View(("A", "B"), OUTCOMES, WRONG)),
        "pictures": [vars(made) for made in pictures],
        "pairs": [plain(pair) for pair in veiled_alike(pairs, pictures)],
    }
    return (
        environment(Path(__file__).parent)
        .get_template("difference.html.jinja")
        .render(
            d=found,
            gates=gate_cells(found),
            sets=found.sets,
            asked=ASKED,
            words=WORDS,
            share=SHARE.write,
            change=change_cell,
            value=value_cell,
            counts=Counter(flip.outcome for flip in found.flips),
            outcomes=[name for name in OUTCOMES if any(flip.outcome == name for flip in found.flips)],
            undefended=undefended_note(found),
            foot=FOOT,
            svg=Markup(plot(reports, summaries)),
            names=("A", "B"),
            whole="every pair is here"
            if len(units) <= MOST
            else f"{MOST:,} of {len(units):,} pairs are here, all others in {RESULTS} of both reports",
            lead="Left A, right B: the hardened model of each on one prompt and seed",
            data_json=Markup(json_block(data)),
        )
    )
