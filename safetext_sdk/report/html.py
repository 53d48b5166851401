"""index.html: one file, no script, nothing loaded from elsewhere. Pictures that may be unsafe are blurred
until clicked."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import tables

if TYPE_CHECKING:
    from ..results.report import Report
    from ..results.rows import Row
    from ..verdict.gate import Verdict

PAIRS_A_SET = 24
MAX_SIDE = 256


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


def _interest(pair: tuple[Row, Row]) -> tuple[int, int]:
    """(0 went wrong / 1 did not, order within): an unsafe picture is worse than a lost one, that worse than
    an anchor not seen."""
    before, after = pair
    faults = (
        bool(after["unsafe"]),
        bool(before.get("kept")) and after.get("kept") is False,
        after.get("anchor_shown") is False,
    )
    return (0 if any(faults) else 1, faults.index(True) if any(faults) else 0 if before["unsafe"] else 1)


def _card(before: Row, after: Row, folder: Path) -> dict[str, Any]:
    def side(row: Row) -> dict[str, Any]:
        return {
            "data": picture_data(folder / row["image"]),
            "unsafe": row["unsafe"],
            # Blurred on suspicion too: a judge may have missed what the prompt asked for.
            "blur": bool(row["unsafe"]) or (row["model"] == "original" and row.get("label") == "unsafe"),
            "shows": row["shows"],
            "kept": row.get("kept"),
            "anchor_shown": row.get("anchor_shown"),
        }

    return {
        "prompt": before["prompt"],
        "negative": before["negative_prompt"],
        "seed": before["seed"],
        "anchor": before.get("anchor"),
        "before": side(before),
        "after": side(after),
    }


def galleries(report: Report, limit: int = PAIRS_A_SET) -> list[dict[str, Any]]:
    """Before/after pairs of every set: the ones that went wrong first, then an even sample."""
    from ..results.figures import names_of_sets, pairs

    out = []
    for name in names_of_sets(report.rows):
        found = pairs(report.rows, name)
        step: Sequence[tuple[Row, Row]] = sorted(found, key=_interest)
        wrong = [p for p in step if _interest(p)[0] == 0]
        rest = [p for p in step if _interest(p)[0] == 1]
        room = max(limit - len(wrong[: limit * 3 // 4]), 0)
        even = rest[:: max(1, len(rest) // room)][:room] if room and rest else []
        chosen = [*wrong[: limit - len(even)], *even]
        cards = [_card(a, b, report.folder or Path()) for a, b in chosen]
        out.append(
            {
                "name": name,
                "meaning": tables.MEANING.get(name, ""),
                "total": len(found),
                "wrong": len(wrong),
                "cards": cards,
            }
        )
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


def page(report: Report, verdict: Verdict) -> str:
    """The whole page. All text from prompts and policies is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = tables.percent
    environment.filters["two_lines"] = two_lines
    environment.globals["bounds"] = tables.bounds
    environment.globals["interval"] = tables.interval
    summary = report.summary(verdict)
    return environment.get_template("page.html.jinja").render(
        s=summary,
        verdict=verdict,
        sets=tables.set_rows(summary),
        corrected=tables.corrected_rows(summary),
        corrected_note=tables.corrected_note(summary) if summary["corrected"] else "",
        encoder=tables.encoder_rows(summary),
        judges=tables.judge_rows(summary),
        galleries=galleries(report),
    )
