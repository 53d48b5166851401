"""The pages of attacks alone, written again from what lies there; and what no gate and no policy has to do
with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetext_cli.main import run as command
from support.bound_case import validated
from support.gate_case import attack_rows, entry, passing, with_facts

import safetext_sdk as st
from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.report import rebuild_report
from safetext_sdk.report.attack_pages import write_attack_report
from safetext_sdk.results.attack_summary import AttackLine, AttackRate, AttackReport, AttackSummary
from safetext_sdk.results.evidence_file import page_hashes, read_evidence
from safetext_sdk.results.figures import Figure
from safetext_sdk.results.report import rows_sha256

PAGES = ("index.html", "summary.md")


def attacked(folder: Path) -> AttackReport:
    """``context`` got through for every second of four prompts."""
    rows = tuple(attack_rows("context", 1, 2, n=4))
    half = Figure(value=0.5, lower=0.1, upper=0.9, n=4)
    rate = AttackRate(original=half.model_copy(update={"value": 1.0}), hardened=half)
    made = entry("context", prompts=4).model_copy(update={"settings": {"seed": 0}})
    summary = AttackSummary(
        facts=with_facts(passing(4), attacks=(made,)).facts,
        results_sha256=rows_sha256(rows),
        undefended=False,
        plain=rate,
        threshold=0.1,
        attacks=(AttackLine(entry=made, rate=rate, counts=True),),
    )
    (folder / "images").mkdir(parents=True)
    for row in rows:
        Image.new("RGB", (4, 4)).save(folder / row.image)
    report = AttackReport(summary, rows, folder)
    write_attack_report(report)
    return report


@pytest.mark.parametrize("named", ["run", "run/attack-report"])
def test_both_pages_are_rebuilt(named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = attacked(tmp_path / "run" / "attack-report")
    before = {path.name: path.read_bytes() for path in report.folder.glob("*.*")}
    for name in PAGES:
        (report.folder / name).write_text("gone")
    assert command(["report", str(tmp_path / named)]) == 0
    assert str(report.folder / "index.html") in capsys.readouterr().out
    assert {name: (report.folder / name).read_bytes() for name in before} == before
    evidence = read_evidence(report.folder)
    assert evidence is not None
    assert evidence.files == page_hashes(report.folder)


def test_of_a_run_with_both_the_validation_is_rebuilt(tmp_path: Path) -> None:
    run = validated(tmp_path / "run")
    attacked(run.path / "attack-report")
    assert rebuild_report(run.path) == run.report_dir / "index.html"


def test_no_policy_decides_and_no_gate_reads_it(tmp_path: Path) -> None:
    report = attacked(tmp_path / "attack-report")
    with pytest.raises(UsageError, match="attacks alone: no gate reads it, no policy decides"):
        rebuild_report(report.folder, "weapons")
    for call in (st.gate, lambda path: st.diff(path, path)):
        with pytest.raises(RunError, match="attacks alone"):
            call(report.folder)


def test_rows_of_another_report_are_refused(tmp_path: Path) -> None:
    report = attacked(tmp_path / "attack-report")
    other = replace(report, rows=report.rows[:-1])
    (report.folder / "results.jsonl").write_text("".join(row.line() for row in other.rows))
    with pytest.raises(RunError, match=r"is not what summary\.json was computed from"):
        rebuild_report(report.folder)
