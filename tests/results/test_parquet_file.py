"""results.parquet has every field of every row, says whose copy it is, and never stays beside other rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bound_case import validated
from support.gate_case import passing
from support.rows_case import report_of

from safetext_sdk import gate
from safetext_sdk.errors import MissingExtraError
from safetext_sdk.report import rebuild_report
from safetext_sdk.results import parquet_file
from safetext_sdk.results.evidence_file import read_evidence
from safetext_sdk.results.packed_rows import PackedRows
from safetext_sdk.results.parquet_file import is_copy, write_parquet
from safetext_sdk.results.report import rows_sha256
from safetext_sdk.results.rows import ResultRow
from safetext_sdk.verification.file_checks import verify_files

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: results.parquet was not tested")


@pytest.mark.parametrize("packed", [False, True])
def test_every_field_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(parquet_file, "GROUP", 7)
    rows = report_of(9).rows
    given = PackedRows.of(rows) if packed else rows
    path = write_parquet(given, rows_sha256(rows), tmp_path / "results.parquet")
    found = pq.read_table(path).to_pylist()
    assert list(found[0]) == list(ResultRow.model_fields)
    for line in found:
        line["scores"] = {name: dict(scores) for name, scores in line["scores"]}
        line["detectors"] = dict(line["detectors"])
    assert [ResultRow.model_validate(line) for line in found] == list(rows)
    assert is_copy(path, rows_sha256(rows))
    assert not is_copy(path, rows_sha256(rows[1:]))


def test_a_report_writes_it_on_request_and_drops_it_when_rows_change(tmp_path: Path) -> None:
    run = validated(tmp_path / "run")
    path = run.report_dir / "results.parquet"
    rebuild_report(run.path)
    assert not path.exists()
    rebuild_report(run.path, parquet=True)
    evidence = read_evidence(run.report_dir)
    assert evidence is not None
    assert "results.parquet" in evidence.files
    gate(run.path)
    assert path.exists(), "the same rows, judged again"
    path.write_bytes(path.read_bytes() + b"x")
    assert "results.parquet" in verify_files(run.report_dir).changed
    assert not is_copy(tmp_path / "nothing.parquet", "0")


def test_a_copy_of_other_rows_goes(tmp_path: Path) -> None:
    run = validated(tmp_path / "run")
    path = run.report_dir / "results.parquet"
    write_parquet(passing(2).rows, rows_sha256(passing(2).rows), path)
    gate(run.path)
    assert not path.exists()


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"safetext-sdk\[parquet\]"):
        write_parquet([], "0", tmp_path / "results.parquet")
