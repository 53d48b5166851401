"""Files of rows with named columns (jsonl, json, csv, txt, parquet), read whole, each row with its place in
the file.

Whoever reads prompts from a file reads them through here, so that a bad file is told the same way everywhere:
one line with file and line (of a parquet file: the number of the row).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, PolicyError

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_ROWS = 1_000_000
FORMATS = (".jsonl", ".json", ".csv", ".txt", ".parquet")
NAMED_AT_MOST = 20
LOOKED_AT = 1000
"""Rows whose keys are the columns of a file that has no header."""


@dataclass(frozen=True)
class TableRow:
    """One row: the line that it begins on (parquet, json: its number), counted from 1, and its values."""

    line: int
    values: Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """A file of rows.

    Attributes:
        columns: names of its columns, in order of first appearance.
        sha256: of its bytes.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    sha256: str

    def require(self, columns: Sequence[str], field: str = "") -> None:
        """Say which column is not there.

        Raises:
            PolicyError: the first one that is not, with those that are.
        """
        for column in columns:
            if self.rows and column not in self.columns:
                names = ", ".join(sorted(self.columns)[:NAMED_AT_MOST])
                raise PolicyError(f"no column {column!r}", file=str(self.path), field=field, allowed=names)


def read_table(
    path: Path, *, text_column: str = "prompt", sha256: str | None = None, field: str = ""
) -> Table:
    """Read a file of rows; empty lines of a jsonl or txt file are no rows.

    Args:
        text_column: what the one column of a .txt file (a line, a row) is called.
        sha256: of the content; another content is refused.
        field: field of the policy that names the file, for messages.

    Raises:
        PolicyError: missing, a folder, too large, changed, not UTF-8, or not of its format.
        MissingExtraError: a parquet file without pyarrow.
    """
    raw = _bytes(path, field)
    digest = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and digest != sha256:
        raise PolicyError(
            "the file has another content than the sha256 that was given for it", file=str(path), field=field
        )
    suffix = path.suffix.lower()
    if suffix == ".txt":
        lines = enumerate(_text(raw, path).splitlines(), 1)
        rows = [TableRow(n, {text_column: line}) for n, line in lines if line.strip()]
    elif suffix == ".csv":
        rows = list(_csv(raw, path, field))
    elif suffix == ".jsonl":
        rows = list(_jsonl(raw, path, field))
    elif suffix == ".json":
        rows = list(_json(raw, path, field))
    elif suffix == ".parquet":
        rows = list(_parquet(path, field))
    else:
        raise PolicyError(
            f"unknown kind of file {suffix!r}", file=str(path), field=field, allowed=", ".join(FORMATS)
        )
    if len(rows) > MAX_ROWS:
        raise PolicyError("the file has too many rows", file=str(path), field=field, allowed=str(MAX_ROWS))
    columns = tuple(dict.fromkeys(name for row in rows[:LOOKED_AT] for name in row.values))
    return Table(path, columns, tuple(rows), digest)


def _bytes(path: Path, field: str) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PolicyError(
                "the file of prompts is too large",
                file=str(path),
                field=field,
                allowed=f"{MAX_FILE_BYTES} bytes",
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise PolicyError(f"cannot be read: {reason}", file=str(path), field=field) from None


def _text(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyError(
            "the file is not UTF-8 text",
            file=str(path),
            line=raw[: error.start].count(b"\n") + 1,
            allowed="UTF-8",
        ) from None


def _csv(raw: bytes, path: Path, field: str) -> Iterator[TableRow]:
    csv.field_size_limit(1_000_000)
    reader = csv.DictReader(io.StringIO(_text(raw, path), newline=""))
    before = 0
    try:
        before = reader.line_num if reader.fieldnames else 0
        for row in reader:
            # Cells beyond the header stand under None.
            yield TableRow(before + 1, {name: value for name, value in row.items() if name is not None})
            before = reader.line_num
    except csv.Error as error:
        raise PolicyError(f"not valid CSV: {error}", file=str(path), line=before + 1, field=field) from None


def _jsonl(raw: bytes, path: Path, field: str) -> Iterator[TableRow]:
    for number, line in enumerate(_text(raw, path).split("\n"), 1):
        if line.strip():
            yield TableRow(number, _object(line, path, number, field))


def _object(line: str, path: Path, number: int, field: str) -> dict[str, Any]:
    where: dict[str, Any] = {"file": str(path), "line": number, "field": field}
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PolicyError(
            f"this line is no JSON object: {str(error)[:120]}", **where, allowed='{"prompt": "..."}'
        ) from None
    if not isinstance(row, dict):
        raise PolicyError("this line is no JSON object", **where, allowed='{"prompt": "..."}')
    return row


def _json(raw: bytes, path: Path, field: str) -> Iterator[TableRow]:
    try:
        rows = json.loads(_text(raw, path))
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"not valid JSON: {str(error)[:120]}", file=str(path), field=field) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PolicyError("not a list of JSON objects", file=str(path), field=field)
    yield from (TableRow(number, row) for number, row in enumerate(rows, 1))


def _parquet(path: Path, field: str) -> Iterator[TableRow]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError(
            f"the parquet file {path.name}{f' ({field})' if field else ''}", "parquet"
        ) from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except Exception as error:  # pyarrow has its own exception tree; a broken file is the user's to mend
        raise PolicyError(
            f"not a readable parquet file: {str(error)[:160]}", file=str(path), field=field
        ) from None
    yield from (TableRow(number, row) for number, row in enumerate(rows, 1))
