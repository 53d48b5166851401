"""Files of rows: every format gives the same rows, and a bad file is one line with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safetext_sdk.errors import PolicyError
from safetext_sdk.prompts.prompt_text import problem_of
from safetext_sdk.prompts.table_file import read_table

ROWS = [{"prompt": "a cat", "label": "safe"}, {"prompt": "two\nlines", "label": "unsafe"}]


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n" + "\n\n".join(map(json.dumps, ROWS)) + "\n", encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS), encoding="utf-8")
    elif suffix == ".csv":
        path.write_bytes('\ufeffprompt,label\r\na cat,safe\r\n"two\nlines",unsafe\r\n'.encode())
    else:
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize(
    ("suffix", "lines"), [(".jsonl", [2, 4]), (".json", [1, 2]), (".csv", [2, 3]), (".parquet", [1, 2])]
)
def test_every_format_has_the_same_rows_each_with_its_place(
    tmp_path: Path, suffix: str, lines: list[int]
) -> None:
    table = read_table(written(tmp_path, suffix))
    assert [dict(row.values) for row in table.rows] == ROWS
    assert [row.line for row in table.rows] == lines
    assert table.columns == ("prompt", "label")
    assert len(table.sha256) == 64


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("a cat\n\n  \na dog\n", encoding="utf-8")
    assert [(r.line, r.values) for r in read_table(path, text_column="text").rows] == [
        (1, {"text": "a cat"}),
        (4, {"text": "a dog"}),
    ]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("x.jsonl", b'{"prompt": "a"}\n{"prompt"\n', "x.jsonl:2: this line is no JSON object"),
        ("x.jsonl", b"[1]\n", "x.jsonl:1: this line is no JSON object"),
        ("x.json", b'{"prompt": "a"}', "not a list of JSON objects"),
        ("x.json", b"[" * 100_000, "not valid JSON"),
        ("x.csv", b"prompt\na\n\xff\n", "x.csv:3: the file is not UTF-8 text"),
        ("x.csv", b'prompt\n"' + b"x" * 1_100_000, "x.csv:2: not valid CSV"),
        ("x.parquet", b"PAR1", "not a readable parquet file"),
        ("x.xlsx", b"", "unknown kind of file '.xlsx'"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(PolicyError, match=message) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none.csv: cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(PolicyError, match="cannot be read: embedded null"):
        read_table(Path("a\0b.csv"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a cat,\ta dog\n", None),
        ("ein Mädchen im 花園 \U0001f600", None),
        ("", "missing or empty"),
        (None, "missing or empty"),
        (3, "missing or empty"),
        ("x" * 10_000, "10,000 characters, and at most 2,000"),
        ("a\0b", r"U\+0000"),
        ("a\ud800b", r"U\+D800"),
    ],
)
def test_what_no_prompt_can_be(text: object, problem: str | None) -> None:
    found = problem_of(text)
    if problem is None:
        assert found is None
    else:
        import re

        assert found is not None
        assert re.search(problem, found)
