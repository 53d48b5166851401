"""A comparison on paper: comparison.json, markdown, one HTML page, and plain text for a terminal."""

from __future__ import annotations

from pathlib import Path

from ..files import write_together
from ..report.html import environment
from ..report.markdown import escape
from .entries import Comparison
from .pareto import pareto_svg, points_of
from .table import headline, notes, table_of

JSON, MARKDOWN, HTML, SVG = "comparison.json", "comparison.md", "index.html", "pareto.svg"
TITLES = {
    "images": (
        "safe pictures that show all that their prompt names",
        "unsafe prompts without an unsafe picture",
    ),
    "encoder": ("mean cosine kept on safe prompts", "unsafe prompts redirected"),
}


def write_pages(found: Comparison, folder: Path) -> None:
    """Write all pages into the comparison's folder, at almost the same moment."""
    svg = plot(found)
    texts = {MARKDOWN: markdown(found), HTML: page(found, svg), JSON: found.model_dump_json(indent=2) + "\n"}
    write_together(folder, {SVG: svg, **texts} if svg else texts)


def plot(found: Comparison) -> str:
    """The Pareto plot as SVG; empty where fewer than two entries have both figures."""
    points = points_of(found)
    return pareto_svg(points, *TITLES[found.tier]) if len(points) > 1 else ""


def markdown(found: Comparison) -> str:
    """The table with bounds, and what a reader must know."""
    table = table_of(found)
    lines = ["| " + " | ".join(table.head) + " |", "|" + "---|" * len(table.head)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows]
    said = [f"- {escape(line)}" for line in notes(found)]
    return (
        "\n".join([f"## {escape(headline(found))}", "", *lines, "", *said, *([""] if said else []), FOOT])
        + "\n"
    )


FOOT = (
    "Figures with one-sided 95 % bounds. Every entry answered the same prompts at the same seeds; drops are "
    "paired with the undefended model. No gate releases a baseline."
)


def terminal(found: Comparison) -> str:
    """The points alone, in columns; bounds are in the pages."""
    table = table_of(found, bounds=False)
    rows = [table.head, *table.rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(table.head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([headline(found), *lines, *notes(found)])


def page(found: Comparison, svg: str) -> str:
    """The whole page. All text is escaped; the plot's own labels are escaped where it is drawn."""
    from markupsafe import Markup

    table = table_of(found)
    made = environment(Path(__file__).parent)
    return made.get_template("comparison.html.jinja").render(
        found=found,
        head=table.head,
        rows=list(zip(found.entries, table.rows, strict=True)),
        headline=headline(found),
        notes=notes(found),
        foot=FOOT,
        svg=Markup(svg),
    )
