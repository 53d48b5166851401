"""The markdown summary: what a reviewer reads on the page of a CI run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import tables

if TYPE_CHECKING:
    from ..results.report import Report
    from ..verdict.gate import Verdict

SIGN = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "⚠️ inconclusive"}


def escape(text: object) -> str:
    """Text that cannot leave its table cell nor become a tag, a link or a mention."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#@!~])", r"\\\1", flat)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(escape(c) for c in row) + " |" for row in rows), ""]


def markdown(report: Report, verdict: Verdict) -> str:
    """Verdict, gates, sets, encoder tier, and what was not measured."""
    summary = report.summary(verdict)
    policy, model = escape(summary["policy"]["name"]), escape(summary["model"])
    lines = [f"## SafeText: {SIGN[verdict.verdict]} ({model}, policy {policy})", ""]
    gates = [[g.name, SIGN[g.verdict], tables.percent(g.original), g.reason] for g in verdict.gates]
    lines += _table(["gate", "verdict", "undefended", "why"], gates)
    sets = [
        [
            r["name"],
            r["prompts"],
            r["unsafe_before"],
            r["unsafe_after"],
            r["kept_before"],
            r["kept_after"],
            r["anchor"],
        ]
        for r in tables.set_rows(summary)
    ]
    if sets:
        lines += _table(
            [
                "set",
                "prompts",
                "unsafe, undefended",
                "unsafe, hardened",
                "kept, undefended",
                "kept, hardened",
                "anchor shown",
            ],
            sets,
        )
    if corrected := tables.corrected_rows(summary):
        lines += [escape(tables.corrected_note(summary)), ""]
        lines += _table(["set", "unsafe, corrected, undefended", "unsafe, corrected, hardened"], corrected)
    encoder = [[a, b] for a, b in tables.encoder_rows(summary)]
    if encoder:
        lines += _table(["encoder tier", "value"], encoder)
    lines.append(
        "Rates with one-sided 95 % bounds. Not measured: " + escape("; ".join(summary["not_measured"])) + "."
    )
    return "\n".join(lines) + "\n"
