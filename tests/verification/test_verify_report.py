"""`verify` reads every file of a report: rows, summary, pages and all pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.bound_case import make_run, validated

from safetext_sdk import gate
from safetext_sdk.errors import RunError
from safetext_sdk.results.evidence_file import Measured, read_evidence, write_evidence
from safetext_sdk.results.report import Report
from safetext_sdk.verification.file_checks import verify_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return validated(tmp_path_factory.mktemp("made") / "run").path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def test_run_and_report_are_as_recorded_and_stay_so_after_a_gate(run: Path) -> None:
    before = verify_files(run)
    assert before.ok, before.text()
    assert before.checked > 720
    gate(run)
    assert verify_files(run).ok
    assert verify_files(run / "report" / "index.html").ok, "a file of a report stands for its run"


def test_every_page_and_every_picture_is_read(run: Path) -> None:
    names = ["results.jsonl", "summary.json", "summary.md", "junit.xml", "index.html"]
    names += ["images/original-unsafe-0.png", "images/hardened-borderline-119.png"]
    for name in names:
        path = run / "report" / name
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        assert f"report/{name}" in verify_files(run).changed, name
        path.unlink()
        assert f"report/{name}" in verify_files(run).missing, name
        path.write_bytes(kept)
    assert verify_files(run).ok


def test_missing_and_foreign_evidence(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", weights=b"other weights")
    shutil.copytree(run / "report", other.report_dir)
    assert verify_files(other.path).changed == ("report/evidence.json (about another run)",)
    (run / "report" / "evidence.json").unlink()
    assert verify_files(run).missing == ("report/evidence.json",)
    shutil.rmtree(run / "report")
    assert verify_files(run).ok, "a run without a report has nothing to show"


def test_evidence_that_names_less_is_found(run: Path) -> None:
    """Hashes of pages are right, but a picture is not listed, or the rows are not the measured ones."""
    folder = run / "report"
    evidence = read_evidence(folder)
    assert evidence is not None
    fewer = dict(list(evidence.measured.pictures.items())[1:])
    write_evidence(folder, evidence.measured.model_copy(update={"pictures": fewer}), "0.1.0")
    assert "report/1 pictures without a recorded hash" in verify_files(run).changed
    for field, name in (("facts_sha256", "summary.json"), ("results_sha256", "results.jsonl")):
        write_evidence(folder, evidence.measured.model_copy(update={field: "0" * 64}), "0.1.0")
        assert f"report/{name} (not what was measured)" in verify_files(run).changed
    bare = evidence.model_copy(update={"files": {}})
    (folder / "evidence.json").write_text(bare.model_dump_json())
    assert not verify_files(run).ok


def test_what_was_added_is_found_but_not_left_over_pictures(run: Path) -> None:
    (run / "report" / "images" / "of-an-earlier-validation.png").write_bytes(b"old")
    (run / "report" / "results.partial.jsonl").write_text("")
    assert verify_files(run).ok
    (run / "report" / "verdict.html").write_text("pass")
    assert verify_files(run).added == ("report/verdict.html",)


def test_a_report_alone_is_verified_too(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "report", tmp_path / "alone")
    assert verify_files(tmp_path / "alone").ok
    (tmp_path / "alone" / "index.html").write_text("pass")
    assert verify_files(tmp_path / "alone").changed == ("index.html",)


def test_evidence_needs_its_pictures(run: Path) -> None:
    report = Report.load(run)
    next((run / "report" / "images").iterdir()).unlink()
    with pytest.raises(RunError, match="a picture of the report cannot be read"):
        Measured.of(report)
    (run / "report" / "evidence.json").write_text("[]")
    with pytest.raises(RunError, match="cannot be read as evidence"):
        verify_files(run)
