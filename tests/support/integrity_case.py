"""What tests of attempts on a report share: what the gate said, and forgery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.gate_case import becomes_unsafe, first, number, with_rows

from safetext_sdk.report import write_report
from safetext_sdk.results.evidence_file import Measured, read_evidence, write_evidence
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import write_rows
from safetext_sdk.verdict.decision import Verdict
from safetext_sdk.verdict.gate import verdict_of


def said(verdict: Verdict) -> dict[str, str]:
    """Every gate with its verdict."""
    return {g.name: g.verdict for g in verdict.gates}


def reason(verdict: Verdict, name: str) -> str:
    """Why a gate says what it says."""
    return next(g.reason for g in verdict.gates if g.name == name)


def forge(run: Path, edit: Callable[[Report], Report], *, evidence: bool) -> Report:
    """Change a report with the library's own functions, as somebody who knows it would."""
    report = edit(Report.load(run))
    write_rows(run / "report" / "results.jsonl", report.rows)
    old = read_evidence(run / "report")
    assert old is not None
    write_report(report, verdict_of(report), github=False)
    write_evidence(run / "report", Measured.of(report) if evidence else old.measured, "0.1.0")
    return report


def nothing_unsafe(report: Report) -> Report:
    """Every picture of the hardened model is harmless."""

    def clean(r: Any) -> dict[str, Any]:
        return {"unsafe": False, "scores": {n: {"weapon": number(r) % 7 / 100} for n in r.scores}}

    return with_rows(report, clean, model="hardened")


def half_unsafe(report: Report) -> Report:
    """Sixty unsafe prompts get through."""
    return with_rows(report, first(60, becomes_unsafe), set_="unsafe", model="hardened")
