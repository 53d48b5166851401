"""Attempts to talk the gate into a pass: forged rows, facts and evidence, and rows that nobody planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.bound_case import validated
from support.gate_case import add_rows, number, passing, row, with_facts, with_rows
from support.integrity_case import forge, half_unsafe, nothing_unsafe, reason, said

from safetext_sdk import gate
from safetext_sdk.errors import RunError
from safetext_sdk.report import write_report
from safetext_sdk.results.evidence_file import read_evidence, write_evidence
from safetext_sdk.results.report import Report
from safetext_sdk.results.summary import Summary
from safetext_sdk.verdict.gate import verdict_of


def test_forged_rows_are_not_what_was_measured(tmp_path: Path) -> None:
    run = validated(tmp_path / "run", half_unsafe)
    assert gate(run.path).verdict == "fail"
    forge(run.path, nothing_unsafe, evidence=False)
    verdict = gate(run.path)
    assert said(verdict)["unsafe_rate"] == "pass"
    assert said(verdict)["report_as_measured"] == "fail"
    assert "results.jsonl is not what evidence.json records" in reason(verdict, "report_as_measured")
    assert gate(run.path).verdict == "fail", "judging again must not make it good"


def test_rows_and_evidence_forged_read_unsigned_on_every_page(tmp_path: Path) -> None:
    """Without a key nobody can tell, and every page says so."""
    run = validated(tmp_path / "run", half_unsafe)
    forge(run.path, nothing_unsafe, evidence=True)
    verdict = gate(run.path)
    assert verdict.decision is not None
    assert verdict.decision.signature == "unsigned"
    assert "this report is unsigned" in verdict.text()
    for page in ("index.html", "summary.md", "junit.xml"):
        assert "unsigned" in (run.report_dir / page).read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: with_facts(r, plan={**r.facts.plan, "unsafe": 20}),
        lambda r: with_facts(r, seeds=(0, 1, 2)),
        lambda r: with_facts(r, encoders={"text_encoder": "hardened", "text_encoder_2": "hardened"}),
        lambda r: with_facts(r, tier="encoder"),
        lambda r: with_facts(r, detectors=r.facts.detectors[:1]),
    ],
    ids=["plan", "seeds", "encoders", "tier", "detectors"],
)
def test_edited_facts_are_not_what_was_measured(run: Path, edit: Callable[[Report], Report]) -> None:
    forge(run, edit, evidence=False)
    verdict = gate(run)
    assert said(verdict)["report_as_measured"] == "fail"
    assert "says about the validation" in reason(verdict, "report_as_measured")


def test_a_report_without_evidence_proves_nothing_and_gets_none(run: Path) -> None:
    (run / "report" / "evidence.json").unlink()
    for _ in range(2):
        verdict = gate(run)
        assert said(verdict)["report_as_measured"] == verdict.verdict == "inconclusive"
        assert not (run / "report" / "evidence.json").exists()


def test_damaged_evidence_is_an_error(run: Path) -> None:
    (run / "report" / "evidence.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read as evidence"):
        gate(run)


@pytest.mark.parametrize("field", ["facts_sha256", "results_sha256", "policy_sha256", "manifest_sha256"])
def test_evidence_of_another_report_is_refused(run: Path, field: str) -> None:
    evidence = read_evidence(run / "report")
    assert evidence is not None
    other = evidence.measured.model_copy(update={field: "0" * 64})
    write_evidence(run / "report", other, "0.1.0")
    assert said(gate(run))["report_as_measured"] == "fail"


def test_an_edited_page_is_written_again(run: Path) -> None:
    report = Report.load(run)
    write_report(report, verdict_of(with_rows(report, lambda _: {"unsafe": True})), github=False)
    (run / "report" / "index.html").write_text("pass, really")
    assert gate(run).passed
    summary = Summary.model_validate_json((run / "report" / "summary.json").read_text())
    assert summary.verdict == "pass"
    assert "pass, really" not in (run / "report" / "index.html").read_text()


def test_rows_are_not_padded(tmp_path: Path) -> None:
    """Harmless rows of a set that no plan has, and answers given twice: both make a bound tighter."""
    extra = [
        row(m, "unsafe", k, unsafe=m == "original", label="unsafe")
        for k in range(200, 400)
        for m in ("original", "hardened")
    ]
    twice = add_rows(passing(), [r for r in passing().rows if r.set == "unsafe"])
    assert said(verdict_of(twice))["rows_once"] == "fail"
    strange = add_rows(passing(), [r.model_copy(update={"set": "other"}) for r in extra])
    assert "the plan has no set other" in reason(verdict_of(strange), "rows_once")


def test_one_picture_does_not_stand_for_both_models() -> None:
    same = with_rows(passing(), lambda r: {"image": f"images/{r.set}-{number(r)}.png"}, set_="safe")
    assert "stands for both models" in reason(verdict_of(same), "rows_once")
