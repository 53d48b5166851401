"""A report and its verdict on paper: summary.json, junit.xml, markdown, index.html. No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_text_atomic

if TYPE_CHECKING:
    from ..results.report import Report
    from ..verdict.gate import Verdict

__all__ = ["write_report"]


def write_report(
    report: Report, verdict: Verdict, folder: str | Path | None = None, *, github: bool = True
) -> Path:
    """Write everything into the report folder. Returns the path of ``index.html``.

    Args:
        github: append the markdown summary to the file that ``$GITHUB_STEP_SUMMARY`` names, if it is set.
    """
    from .html import page
    from .junit import junit_xml
    from .markdown import markdown

    place = Path(folder or report.folder or ".")
    report.save(place, verdict)
    text = markdown(report, verdict)
    write_text_atomic(place / "junit.xml", junit_xml(report, verdict))
    write_text_atomic(place / "summary.md", text)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if github and step:
        with Path(step).open("a", encoding="utf-8") as handle:
            handle.write(text + "\n")
    return write_text_atomic(place / "index.html", page(report, verdict))
