"""Unsafe rates corrected for detector error: beside the raw ones, never in the place of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.gate_case import number, passing, scored, with_facts, with_rows

from safetext_sdk.metrics.correction import joint_error_rates
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.report import report_text
from safetext_sdk.report.cells import detector_cells
from safetext_sdk.report.html import page
from safetext_sdk.report.markdown import markdown
from safetext_sdk.results.detector_entry import unsafe_concepts
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import ResultRow
from safetext_sdk.verdict.gate import verdict_of

RATES = {"recall": 0.9, "false_alarm": 0.05}


def stated(rule: str = "any", rates: dict[str, float] | None = RATES) -> Report:
    report = passing()
    changes: dict[str, Any] = {"error_rates": rates, "rule": rule}
    detectors = tuple(d.model_copy(update=changes) for d in report.facts.detectors)
    return with_facts(report, detectors=detectors)


def test_detectors_together_follow_the_rule() -> None:
    entries = stated().facts.detectors

    def rates(found):
        joint = joint_error_rates(found)
        return joint and (joint.recall, joint.false_alarm)

    assert rates(entries) == pytest.approx((0.99, 1 - 0.95**2))
    assert rates(stated("all").facts.detectors) == pytest.approx((0.81, 0.0025))
    gore = {"concept": "gore", "error_rates": {"recall": 0.5, "false_alarm": 0.2}}
    other = entries[0].model_copy(update=gore)
    assert rates([*entries, other]) == pytest.approx((0.5, 1 - 0.95**2 * 0.8))
    assert rates([]) is None
    for incomplete in ({"recall": 0.9}, {"recall": 1.2, "false_alarm": 0.0}, None):
        assert rates([*entries, entries[0].model_copy(update={"error_rates": incomplete})]) is None


def test_beside_the_raw_figures_everywhere_and_in_no_gate() -> None:
    plain, report = passing(), stated()
    verdict = verdict_of(report)
    summary = summarise(report, verdict.gates, verdict.verdict)
    assert summary.corrected is not None
    assert summary.corrected.gated is False
    found = summary.corrected.sets["unsafe"]
    assert (found.original.value, found.hardened.value) == (1.0, 0.0)
    assert found.hardened.upper is not None
    assert found.hardened.upper < (summary.sets["unsafe"].hardened.unsafe.upper or 0)
    assert summary.sets == summarise(plain).sets, "raw figures stay as they are"
    assert verdict.gates == verdict_of(plain).gates
    for text in (markdown(summary), page(summary, report.rows, Path()), report_text(report)):
        assert "orrected for detector error" in text
        assert "gates use the raw figures" in text


def test_nothing_is_corrected_where_a_detector_states_no_rates(tmp_path: Path) -> None:
    summary = summarise(passing())
    assert summary.corrected is None
    assert "orrected for detector error" not in markdown(summary) + report_text(passing())
    report = replace(stated(), folder=tmp_path)
    report.save(summarise(report))
    again = Report.load(tmp_path)
    assert again.facts == report.facts, "computed from the rows, never taken from the file"
    assert summarise(again).corrected == summarise(report).corrected


def ruled(rule: str, *, second: float) -> Report:
    """Detector a sees the concept in every picture of the undefended model, detector b scores ``second``
    there."""
    report = stated(rule, None)
    entries = report.facts.detectors

    def change(r: ResultRow) -> dict[str, Any]:
        scores = scored(r, "toy/b", second - 0.001 * (number(r) % 3))
        return {**scores, "unsafe": bool(unsafe_concepts(entries, scores["scores"]))}

    return with_rows(report, change, set_="unsafe", model="original")


def test_the_rule_is_one_in_rows_report_and_gate() -> None:
    both, one, lenient = ruled("all", second=0.8), ruled("any", second=0.2), ruled("all", second=0.2)
    for report, rate in ((both, 1.0), (one, 1.0), (lenient, 0.0)):
        assert summarise(report).sets["unsafe"].original.unsafe.value == rate
        assert next(g for g in verdict_of(report).gates if g.name == "detectors_alive").verdict == "pass"
    assert {r.rule for r in detector_cells(summarise(both))} == {"all detectors must agree"}
    assert {r.rule for r in detector_cells(summarise(one))} == {"one detector is enough"}
    for report, rule in ((lenient, "any"), (one, "all")):  # rows of one rule under the name of the other
        entries = tuple(d.model_copy(update={"rule": rule}) for d in report.facts.detectors)
        verdict = verdict_of(with_facts(report, detectors=entries))
        alive = next(g for g in verdict.gates if g.name == "detectors_alive")
        assert (alive.verdict, "says unsafe" in alive.reason) == ("fail", True)


def test_a_baseline_under_another_rule_is_no_baseline() -> None:
    verdict = verdict_of(ruled("any", second=0.8), baseline=ruled("all", second=0.8))
    found = [g for g in verdict.gates if g.name.startswith("baseline")]
    assert [g.verdict for g in found] == ["inconclusive"]
    assert "rules" in found[0].reason
