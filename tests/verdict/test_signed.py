"""Signed reports: what no hash can tell, a key can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetext_cli.main import run as safetext
from support.bound_case import validated
from support.gate_case import becomes_unsafe, first, number, with_rows

from safetext_sdk import gate
from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.files import sha256_file
from safetext_sdk.report import report_text, write_report
from safetext_sdk.results.evidence_file import Measured, signature_of, write_evidence
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import write_rows
from safetext_sdk.verdict.gate import verdict_of


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("model_signing")
    from exporters.test_sign import key_pair

    return key_pair(tmp_path_factory.mktemp("keys"), "mine")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unsafe = first(60, becomes_unsafe)
    run = validated(
        tmp_path_factory.mktemp("made") / "run",
        lambda r: with_rows(r, unsafe, set_="unsafe", model="hardened"),
    )
    return run.path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def forged(run: Path) -> None:
    """Rows, pages and evidence made with the library's own functions; an old signature stays beside them."""
    report = Report.load(run)

    def clean(r):
        return {"unsafe": False, "scores": {n: {"weapon": number(r) % 7 / 100} for n in r.scores}}

    report = with_rows(report, clean, model="hardened")
    write_rows(run / "report" / "results.jsonl", report.rows)
    write_report(report, verdict_of(report), github=False)
    write_evidence(run / "report", Measured.of(report), "0.1.0")


def test_a_signed_report_says_so_and_holds(run: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    verdict = gate(run, sign=private)
    assert verdict.decision is not None
    assert verdict.decision.signature == "signed"
    for page in ("index.html", "summary.md", "junit.xml"):
        assert "unsigned" not in (run / "report" / page).read_text(encoding="utf-8")
    assert "this report is signed" in report_text(Report.load(run))
    checked = gate(run, public_key=public)
    assert next(g for g in checked.gates if g.name == "signature").verdict == "pass"
    run.rename(tmp_path / "moved")
    assert safetext(["verify", str(tmp_path / "moved"), "--public-key", str(public)]) == 0


def test_judging_a_signed_report_again_keeps_its_signature(run: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    gate(run, sign=private)
    before = {p.name: p.read_bytes() for p in (run / "report").iterdir() if p.is_file()}
    verdict = gate(run)
    assert {p.name: p.read_bytes() for p in (run / "report").iterdir() if p.is_file()} == before
    assert verdict.decision is not None
    assert verdict.decision.signature == "signed"
    # Another verdict is another report: without the key it is unsigned again.
    gate(run, allow_missing_pictures=True)
    assert signature_of(run / "report") == "unsigned"
    with pytest.raises(RunError, match="was not signed"):
        gate(run, public_key=public)
    assert safetext(["verify", str(run), "--public-key", str(public)]) == 3


def test_an_edited_page_of_a_signed_report_does_not_stand(run: Path, keys: tuple[Path, Path]) -> None:
    gate(run, sign=keys[0])
    (run / "report" / "index.html").write_text("pass")
    gate(run)
    assert "this report is unsigned" in (run / "report" / "index.html").read_text()


def test_a_forged_report_does_not_pass_where_a_key_is_asked_for(run: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    gate(run, sign=private)
    signature = (run / "report" / "evidence.sig").read_bytes()
    forged(run)
    assert safetext(["verify", str(run), "--public-key", str(public)]) == 1
    (run / "report" / "evidence.sig").write_bytes(signature)
    verdict = gate(run, public_key=public)
    said = {g.name: g.verdict for g in verdict.gates}
    assert (said["unsafe_rate"], said["signature"], verdict.verdict) == ("pass", "fail", "fail")
    assert safetext(["gate", str(run), "--public-key", str(public), "--quiet"]) == 3, "unsigned by now"


def test_exports_of_a_run_are_signed_each_or_with_it(
    run: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """No report names an export's files."""
    from safetext_exporters.signing import check_signatures, sign_folder

    private, public = keys
    gate(run, sign=private)
    weights = run / "exports" / "onnx" / "text_encoder" / "model.onnx"
    weights.parent.mkdir(parents=True)

    def write(content: bytes) -> None:
        weights.write_bytes(content)
        record = {"files": {"text_encoder/model.onnx": sha256_file(weights)}}
        (run / "exports" / "onnx" / "export.json").write_text(json.dumps(record))

    write(b"hardened")
    assert safetext(["verify", str(run), "--public-key", str(public)]) == 3
    said = capsys.readouterr().err
    assert "exports/onnx has no model.sig: it was not signed" in said
    assert f"safetext verify {run / 'report'} --public-key" in said
    assert safetext(["verify", str(run / "report"), "--public-key", str(public)]) == 0
    sign_folder(run / "exports" / "onnx", private)
    assert check_signatures(run, public) == ["report/evidence.json", "exports/onnx/model.sig"]
    write(b"original")  # with its record, as whoever can write the folder can
    assert safetext(["verify", str(run), "--public-key", str(public)]) == 1
    assert "the signature does not hold" in capsys.readouterr().err
    (run / "exports" / "onnx" / "model.sig").unlink()
    sign_folder(run, private)
    assert check_signatures(run, public) == ["model.sig", "report/evidence.json"]
    write(b"hardened")
    assert safetext(["verify", str(run), "--public-key", str(public)]) == 1


def test_another_key_does_not_hold(run: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    from exporters.test_sign import key_pair

    _, other = key_pair(tmp_path, "other")
    gate(run, sign=keys[0])
    verdict = gate(run, public_key=other)
    assert next(g for g in verdict.gates if g.name == "signature").verdict == "fail"


def test_a_key_that_is_not_there_is_told_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    before = (run / "report" / "summary.json").stat().st_mtime_ns
    with pytest.raises(UsageError, match="no private key"):
        gate(run, sign=tmp_path / "none.pem")
    assert (run / "report" / "summary.json").stat().st_mtime_ns == before


def test_there_is_nothing_to_sign_without_evidence(run: Path, tmp_path: Path) -> None:
    (run / "report" / "evidence.json").unlink()
    (tmp_path / "key.pem").write_text("a key")
    with pytest.raises(UsageError, match=r"no evidence\.json to sign"):
        gate(run, sign=tmp_path / "key.pem")
