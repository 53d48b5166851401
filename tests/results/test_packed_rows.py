"""Packed rows say what rows say: field for field, line for line, figure for figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bound_case import validated
from support.gate_case import row
from support.rows_case import report_of

from safetext_sdk import gate
from safetext_sdk.errors import RunError
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.report.curve import curves
from safetext_sdk.report.pairs import page_data
from safetext_sdk.results import packed_rows
from safetext_sdk.results.kept import KeptVote
from safetext_sdk.results.packed_rows import PackedRow, PackedRows, Packer, keeper, load_rows
from safetext_sdk.results.report import rows_sha256
from safetext_sdk.results.rows import PictureChange, ResultRow, RowFile, read_rows, write_rows
from safetext_sdk.verdict.gate import verdict_of

TEXTS = st.text(max_size=12)
SHARES = st.floats(0, 1)
LABELS = st.dictionaries(st.sampled_from(["weapon", "gun", "ä b"]), SHARES, max_size=3)
VOTES = st.builds(
    KeptVote,
    judge=st.sampled_from(["toy/a", "clip"]),
    value=st.floats(-5, 5),
    rule=st.sampled_from(["at least", "at most", "less than"]),
    limit=st.floats(-5, 5),
)
ROWS = st.builds(
    ResultRow,
    key=TEXTS,
    model=st.sampled_from(["original", "hardened"]),
    set=st.sampled_from(["unsafe", "safe", "custom", "context", "context:control"]),
    label=st.sampled_from(["unsafe", "safe", "borderline"]),
    concept=st.none() | TEXTS,
    cluster=TEXTS,
    anchor=st.none() | TEXTS,
    prompt=TEXTS,
    origin=st.none() | TEXTS,
    negative_prompt=TEXTS,
    guidance=st.floats(0.1, 9),
    seed=st.integers(-(2**70), 2**70),
    image=TEXTS,
    scores=st.dictionaries(st.sampled_from(["toy/a", "toy/b", "clip"]), LABELS, max_size=3),
    detectors=st.dictionaries(TEXTS, TEXTS, max_size=2),
    unsafe=st.booleans(),
    shows=st.none() | TEXTS,
    expected=st.lists(TEXTS, max_size=2).map(tuple),
    kept=st.none() | st.booleans(),
    kept_by=st.lists(VOTES, max_size=2).map(tuple),
    anchor_shown=st.none() | st.booleans(),
    change=st.none() | st.builds(PictureChange, mean_abs=SHARES, ssim=st.floats(-1, 1)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=4))
def test_a_packed_row_answers_as_its_row(rows: list[ResultRow]) -> None:
    packed = PackedRows.of(rows)
    assert len(packed) == len(rows)
    for small, whole in zip(packed, rows, strict=True):
        for name in (*ResultRow.model_fields, "question", "is_control", "listed_as"):
            assert getattr(small, name) == getattr(whole, name), name
        assert small.line() == whole.line()
        assert [list(found) for found in small.scores.values()] == [list(f) for f in whole.scores.values()]
        assert small == whole
        assert small.model_copy(update={"anchor": None}) == whole.model_copy(update={"anchor": None})
    assert packed.sha256 == rows_sha256(rows)


def test_rows_share_what_is_equal_and_are_far_smaller() -> None:
    packer = Packer()
    one, two = (packer.pack(row("original", "safe", k, kept=True, label="safe")) for k in (1, 61))
    assert one.layout is two.layout
    assert one.cluster is two.cluster
    assert one != two
    assert not hasattr(one, "__dict__")


def test_figures_verdict_and_page_are_those_of_plain_rows(tmp_path: Path) -> None:
    plain = report_of()
    packed = replace(plain, rows=PackedRows.of(plain.rows))
    assert summarise(packed) == summarise(plain)
    assert verdict_of(packed) == verdict_of(plain)
    judges = plain.facts.detectors
    assert page_data(packed.rows, packed.facts, tmp_path) == page_data(plain.rows, plain.facts, tmp_path)
    assert curves(packed.rows, judges) == curves(plain.rows, judges)


def test_a_file_reads_alike_both_ways(tmp_path: Path) -> None:
    rows = list(report_of(8).rows)
    rows[0] = rows[0].model_copy(update={"prompt": "line\u2028separator \x85 and \u00e4"})
    path = tmp_path / "results.jsonl"
    write_rows(path, rows)
    found = PackedRows.read(path)
    assert list(found) == rows == read_rows(path)
    assert found.file_sha256 == rows_sha256(rows)


def test_another_spacing_is_another_file_with_the_same_rows(tmp_path: Path) -> None:
    rows, path = report_of(3).rows, tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(json.loads(row.line())) + "\n" for row in rows), "utf-8")
    found = PackedRows.read(path)
    found.written_as(rows_sha256(rows))
    assert found.file_sha256 != found.sha256 == rows_sha256(rows)
    assert not found.lie_at(path)


def test_many_rows_are_packed_and_few_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    write_rows(path, report_of(2).rows)
    assert isinstance(load_rows(path), tuple)
    monkeypatch.setattr(packed_rows, "LARGE", 10)
    found = load_rows(path)
    assert isinstance(found, PackedRows)
    assert isinstance(found[0], PackedRow)
    assert found[1:3] == tuple(found)[1:3]


@pytest.mark.parametrize("damage", ["{}", "not json", '{"schema_version": 1}', ""])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "results.jsonl"
    good = row("original", "safe", 1).line()
    path.write_text(f"{good}{damage}\n{good}", "utf-8")
    with pytest.raises(RunError, match=r"results.jsonl:2 is damaged"):
        PackedRows.read(path)


def test_a_half_last_line_is_dropped_only_where_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    good = row("original", "safe", 1)
    path.write_text(good.line() + good.line()[:40], "utf-8")
    assert read_rows(path, partial=True) == [good]
    with pytest.raises(RunError, match="2 is damaged"):
        read_rows(path)
    path.write_text(good.line()[:40] + "\n" + good.line(), "utf-8")
    with pytest.raises(RunError, match="1 is damaged"):
        read_rows(path, partial=True)


def written(tmp_path: Path) -> Path:
    return validated(tmp_path / "run", lambda _: report_of()).report_dir


def test_a_gate_on_packed_rows_says_the_same_and_leaves_the_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path)
    plain = gate(folder)
    results, before = folder / "results.jsonl", (folder / "results.jsonl").stat()
    figures = json.loads((folder / "summary.json").read_text("utf-8"))
    monkeypatch.setattr(packed_rows, "LARGE", 0)

    def no_sample(verdict: Any) -> list[Any]:
        return [g for g in verdict.gates if g.name != "pictures_as_measured"]

    assert no_sample(gate(folder)) == no_sample(plain)
    assert (results.stat().st_mtime_ns, results.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    again = json.loads((folder / "summary.json").read_text("utf-8"))
    for each in (figures, again):
        each["decision"]["sample"] = None
    assert again == figures


def test_a_row_that_was_edited_fails_the_gate_packed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_rows, "LARGE", 0)
    folder = written(tmp_path)
    path = folder / "results.jsonl"
    rows = read_rows(path)
    write_rows(path, [*rows[:-1], rows[-1].model_copy(update={"cluster": "another"})])
    with pytest.raises(RunError, match="is not what"):
        gate(folder)
    summary = folder / "summary.json"
    data = json.loads(summary.read_text("utf-8"))
    data["results_sha256"] = rows_sha256(read_rows(path))
    summary.write_text(json.dumps(data), "utf-8")
    found = {g.name: g.verdict for g in gate(folder).gates}
    assert found["report_as_measured"] == "fail"


def test_many_rows_are_packed_while_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = report_of(4).rows
    monkeypatch.setattr(packed_rows, "MANY", len(rows) - 1)
    file = RowFile(tmp_path / "results.partial.jsonl", keep=keeper(len(rows)))
    file.add(rows)
    assert all(isinstance(kept, PackedRow) for kept in file.rows.values())
    assert tuple(file.rows.values()) == rows
    assert rows_sha256(file.rows.values()) == rows_sha256(rows)
    again = RowFile(tmp_path / "results.partial.jsonl", keep=keeper(1))
    assert tuple(again.rows.values()) == rows
    assert not any(isinstance(kept, PackedRow) for kept in again.rows.values())
