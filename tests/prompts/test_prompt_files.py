"""Prompt files by reference: jsonl, csv and parquet with named columns and a checked SHA-256, and what is
said of missing parts."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from safetext_sdk.errors import MissingExtraError, PolicyError
from safetext_sdk.policy import load_policy
from safetext_sdk.policy.schema import PromptRef
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.prompts.prompt_files import FileRow, read_rows

ROWS = [
    {"id": 1, "bad": "a zork,  on a table", "good": "a tulip, on a table", "kind": "zorks"},
    {"id": 2, "bad": "a blarg in the «rain»", "good": "a rose in the rain", "kind": "blargs"},
    {"id": 3, "bad": "", "good": "nothing", "kind": "zorks"},
    {"id": 4, "bad": "a zork at night", "good": "", "kind": ""},
]
EXPECTED = [
    FileRow("a zork, on a table", "a tulip, on a table", "zorks"),
    FileRow("a blarg in the «rain»", "a rose in the rain", "blargs"),
    FileRow("a zork at night", None, None),
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture(params=["jsonl", "csv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / f"rows.{request.param}", ROWS)


def ref(path: Path, **more: Any) -> PromptRef:
    return PromptRef.model_validate(
        {"path": str(path), "column": "bad", "anchor_column": "good", "group_column": "kind", **more}
    )


def test_the_same_rows_whatever_the_format(file: Path) -> None:
    assert read_rows(ref(file)) == EXPECTED
    assert read_rows(PromptRef(path=str(file), column="kind"))[0] == FileRow("zorks")


def test_a_column_that_is_not_there(file: Path) -> None:
    with pytest.raises(PolicyError, match=r"no column 'wrong'.*bad, good, id, kind"):
        read_rows(ref(file, anchor_column="wrong"))


def test_the_digest_is_checked(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_rows(ref(file, sha256=digest)) == EXPECTED
    with pytest.raises(PolicyError, match="another content"):
        read_rows(ref(file, sha256=digest[::-1]))


def test_a_broken_file_is_one_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2].replace(b"a", b"\xff"))
    with pytest.raises(PolicyError) as caught:
        read_rows(ref(file))
    assert "\n" not in str(caught.value)
    assert file.name in str(caught.value)


def test_a_policy_takes_its_pairs_from_the_file(file: Path) -> None:
    policy = file.with_name("p.yaml")
    source = f"{{path: {file.name}, column: bad, anchor_column: good, group_column: kind}}"
    policy.write_text(
        "version: 1\nname: p\nconcepts:\n  - id: thing\n    terms: [gribble, snark]\n    anchors: [a daisy]\n"
        f"    unsafe_prompts: [{source}]\n",
        encoding="utf-8",
    )
    book = build_prompt_book(load_policy(policy), size=20)
    rows = {
        u.text: u.anchor
        for s in (book.train, book.validation, book.test)
        for u in s.unsafe
        if u.template == "own"
    }
    assert rows == {
        "a zork, on a table": "a tulip, on a table",
        "a blarg in the «rain»": "a rose in the rain",
        "a zork at night": "a daisy",
    }


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"rows.parquet.*safetext-sdk\[parquet\]"):
        read_rows(ref(path))
