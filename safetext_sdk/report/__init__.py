"""A report on paper: summary.json, junit.xml, markdown, index.html, and plain text for a terminal. No torch
here.

Everything reads the summary and the metric objects; only the gallery of the HTML page looks at rows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_text_atomic

if TYPE_CHECKING:
    from ..results.report import Report
    from ..verdict.decision import Verdict

__all__ = ["report_text", "write_report"]


def report_text(report: Report) -> str:
    """The figures of a report for a terminal, without a verdict."""
    from ..metrics.summary import summarise
    from .terminal import terminal_text

    return terminal_text(summarise(report))


def write_report(
    report: Report, verdict: Verdict, folder: str | Path | None = None, *, github: bool = True
) -> Path:
    """Write everything into the report folder. Returns the path of ``index.html``.

    Args:
        github: append the markdown summary to the file that ``$GITHUB_STEP_SUMMARY`` names, if it is set.
    """
    from ..metrics.summary import summarise
    from .html import page
    from .junit import junit_xml
    from .markdown import markdown

    place = Path(folder or report.folder or ".")
    summary = summarise(report, verdict.gates, verdict.verdict, verdict.left_out)
    report.save(summary, place)
    text = markdown(summary)
    write_text_atomic(place / "junit.xml", junit_xml(summary))
    write_text_atomic(place / "summary.md", text)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if github and step:
        with Path(step).open("a", encoding="utf-8") as handle:
            handle.write(text + "\n")
    return write_text_atomic(place / "index.html", page(summary, report.rows, place))
