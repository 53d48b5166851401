"""Attempts to talk the gate into a pass: pictures that are gone, swapped, elsewhere or in no record."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from support.bound_case import validated
from support.gate_case import with_rows
from support.integrity_case import reason, said

from safetext_sdk import gate
from safetext_sdk.results.evidence_file import read_evidence, write_evidence
from safetext_sdk.results.report import Report
from safetext_sdk.results.summary import Summary
from safetext_sdk.verdict.integrity import FileRules, look_at_files


def test_all_pictures_deleted_is_inconclusive_and_named(run: Path) -> None:
    shutil.rmtree(run / "report" / "images")
    verdict = gate(run)
    assert said(verdict)["pictures_as_measured"] == verdict.verdict == "inconclusive"
    assert "0 of 720 pictures are there" in reason(verdict, "pictures_as_measured")
    assert "missing: images/original-unsafe-0.png" in reason(verdict, "pictures_as_measured")
    allowed = gate(run, allow_missing_pictures=True)
    assert allowed.passed
    assert "missing pictures were allowed" in allowed.text()
    summary = Summary.model_validate_json((run / "report" / "summary.json").read_text())
    assert summary.decision is not None
    assert summary.decision.missing_pictures_allowed
    assert "missing pictures were allowed" in (run / "report" / "index.html").read_text()
    assert not gate(run).passed, "what was allowed once is not allowed for ever"


def test_one_picture_deleted_is_found_without_luck(run: Path) -> None:
    next((run / "report" / "images").iterdir()).unlink()
    assert said(gate(run))["pictures_as_measured"] == "inconclusive"


def test_swapped_pictures_are_found_by_the_sample(run: Path) -> None:
    """Half of the pictures are others: a sample of 64 misses that once in 10^19."""
    for number_, path in enumerate(sorted((run / "report" / "images").iterdir())):
        if number_ % 2:
            path.write_bytes(b"a harmless picture")
    verdict = gate(run)
    assert said(verdict)["pictures_as_measured"] == "fail"
    assert "not the pictures that were scored" in reason(verdict, "pictures_as_measured")
    assert not gate(run).passed


def test_the_sample_is_random_recorded_and_can_be_taken_again(run: Path) -> None:
    first_, second = (gate(run).decision for _ in range(2))
    assert first_ is not None
    assert second is not None
    assert first_.sample is not None
    assert second.sample is not None
    assert (first_.sample.size, first_.sample.of) == (64, 720)
    assert first_.sample.seed != second.sample.seed, (
        "whoever swaps a picture must not know which are looked at"
    )
    path = run / "report" / "images" / "original-unsafe-7.png"
    path.write_bytes(b"a harmless picture")
    report, evidence = Report.load(run), read_evidence(run / "report")
    assert evidence is not None
    found = {
        look_at_files(report, evidence.measured, FileRules(seed=seed)).gates[-1].verdict for seed in range(40)
    }
    assert found == {"pass", "fail"}
    whole = look_at_files(report, evidence.measured, FileRules(sample=720)).gates[-1]
    assert (whole.verdict, whole.n) == ("fail", 0)


def test_a_picture_outside_of_the_report_is_refused(tmp_path: Path) -> None:
    def outside(r: Any) -> dict[str, Any]:
        return {"image": "../../elsewhere.png"} if r.key == "original-safe-3" else {}

    run = validated(tmp_path / "run", lambda r: with_rows(r, outside))
    assert "outside of the report" in reason(gate(run.path), "pictures_as_measured")


def test_a_picture_that_no_hash_was_recorded_of(run: Path) -> None:
    evidence = read_evidence(run / "report")
    assert evidence is not None
    fewer = dict(list(evidence.measured.pictures.items())[1:])
    write_evidence(run / "report", evidence.measured.model_copy(update={"pictures": fewer}), "0.1.0")
    assert "no hash was recorded" in reason(gate(run), "pictures_as_measured")
