"""Does "kept" follow from what the judges said? A row that claims more than its votes is no evidence."""

from __future__ import annotations

from ..results.kept import kept_by_all
from ..results.report import Report
from ..results.rows import ResultRow
from ..results.summary import FAIL, PASS, GateResult

NAME = "kept_judged"


def kept_follows(report: Report) -> list[GateResult]:
    """Every row's ``kept`` follows from its votes, and those are of the judges that the facts name.

    Empty where no row has a vote and the facts name no judge: there is nothing to check.
    """
    judges = {entry.name for entry in report.facts.kept_judges}
    if not judges and not any(row.kept_by for row in report.rows):
        return []
    known = judges or {entry.name for entry in report.facts.detectors}
    for row in report.rows:
        if fault := _fault(row, known):
            return [GateResult(name=NAME, verdict=FAIL, reason=fault)]
    by = ", ".join(sorted(judges)) or "the detectors"
    return [GateResult(name=NAME, verdict=PASS, reason=f"kept is told by {by}")]


def _fault(row: ResultRow, known: set[str]) -> str:
    """What is wrong with "kept" in one row; empty if nothing is."""
    votes = row.kept_by
    names = [vote.judge for vote in votes]
    if len(set(names)) != len(names) or not set(names) <= known:
        return f"{row.image} was judged by {', '.join(names)}, but kept is told by {', '.join(sorted(known))}"
    if row.kept != kept_by_all(votes):
        return f"the row of {row.image} says kept = {row.kept}, its judges say otherwise"
    return ""
