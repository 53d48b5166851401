"""The markdown summary: what a reviewer reads on the page of a CI run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..results.judge_profile import judged_by
from ..results.summary import Summary
from . import cells

MARK = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️"}
SET_HEAD = (
    "set",
    "prompts",
    "unsafe, undefended",
    "unsafe, hardened",
    "kept, undefended",
    "kept, hardened",
    "anchor shown",
)


def escape(text: object) -> str:
    """Text that cannot leave its table cell nor become a tag, a link or a mention."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#@!~])", r"\\\1", flat)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, and an empty line below it."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(escape(c) for c in row) + " |" for row in rows), ""]


def markdown(summary: Summary) -> str:
    """Verdict, gates, sets, attacks, encoder tier, every metric, and what was not measured."""
    policy, model = escape(summary.policy.name), escape(summary.model)
    word = cells.verdict_word(summary)
    verdict = f"{MARK[summary.verdict]} {word}" if summary.verdict else word
    lines = [f"## SafeText: {verdict} ({model}, policy {policy})", ""]
    if audited := cells.audit_line(summary):
        lines += [f"This is {escape(audited)}.", ""]
    gates = [
        (g.name, f"{MARK[g.verdict]} {g.verdict}", cells.gate_original(g), g.reason)
        for g in summary.gates or ()
    ]
    gates += [(g.name, "➖ left out", cells.NONE, g.reason) for g in summary.left_out]
    lines += table(["gate", "verdict", "undefended", "why"], gates)
    lines += [*(f"- {escape(line)}" for line in cells.decision_lines(summary)), ""]
    if judge := judged_by(summary):
        lines += [f"Every rate by the judge profile {escape(judge.line())}.", ""]
    sets = [
        (
            row.name,
            row.prompts,
            row.unsafe_before,
            row.unsafe_after,
            row.kept_before,
            row.kept_after,
            row.anchor,
        )
        for row in cells.set_cells(summary)
    ]
    if sets:
        lines += table(SET_HEAD, sets)
    if alone := summary.detectors_alone:
        head = ["each detector alone", "unsafe, undefended", "unsafe, hardened"]
        rows = [(name, cells.share(f.original), cells.share(f.hardened)) for name, f in alone.items()]
        lines += table(head, rows)
    if attacks := cells.attack_cells(summary):
        shown = [
            (a.name, a.threat, a.before, a.after, a.any_seed, a.control, a.counts, a.cost, a.seeds)
            for a in attacks
        ]
        lines += table(cells.ATTACK_HEAD, shown)
        lines += [*(f"- {escape(note)}" for note in cells.attack_notes(summary)), ""]
    if told := cells.kept_note(summary):
        lines += [escape(told), ""]
    if corrected := cells.corrected_cells(summary):
        lines += [escape(cells.corrected_note(summary)), ""]
        lines += table(["set", "unsafe, corrected, undefended", "unsafe, corrected, hardened"], corrected)
    if encoder := cells.encoder_cells(summary):
        lines += table(["encoder tier", "value"], encoder)
    if metrics := cells.metric_cells(summary):
        lines += table(
            ["metric", "hardened", "undefended"], [(m.title, m.value, m.original) for m in metrics]
        )
        if notes := cells.metric_notes(summary):
            lines += [*(f"- {escape(note)}" for note in notes), ""]
    if summary.own_prompts is not None:
        lines += [f"Own prompts: {escape(summary.own_prompts.line())}.", ""]
    lines.append(
        "Figures with one-sided 95 % bounds. Not measured: " + escape("; ".join(summary.not_measured)) + "."
    )
    return "\n".join(lines) + "\n"
