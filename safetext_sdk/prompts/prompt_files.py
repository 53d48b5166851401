"""Prompt files: local or hub, jsonl, csv, txt or parquet, with named columns and a checked SHA-256."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, ModelError, PolicyError
from ..policy.base import MAX_TEXT
from ..policy.prompt_ref import PromptRef

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_ROWS = 1_000_000
FORMATS = (".jsonl", ".csv", ".txt", ".parquet")


@dataclass(frozen=True)
class FileRow:
    """One prompt of a file. Texts longer than the limit of the format are cut, white space is made plain."""

    text: str
    anchor: str | None = None
    group: str | None = None


def read_rows(ref: PromptRef, field: str = "") -> list[FileRow]:
    """The prompts of a ``path`` or ``hub`` reference, in the order of the file; empty ones are left out.

    Raises:
        PolicyError: file missing, changed, of another format, or without the named column.
        MissingExtraError: a parquet file without pyarrow.
    """
    path = Path(ref.path) if ref.path else _fetch(ref, field)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PolicyError(
                "the file of prompts is too large",
                file=str(path),
                field=field,
                allowed=f"{MAX_FILE_BYTES} bytes",
            )
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror or error}", file=str(path), field=field) from None
    if ref.sha256 and hashlib.sha256(raw).hexdigest() != ref.sha256:
        raise PolicyError(
            "the file has another content than the policy's sha256 says", file=str(path), field=field
        )
    suffix = path.suffix.lower()
    if suffix == ".txt":
        rows: list[dict[str, Any]] = [{ref.column: line} for line in _text(raw, path).splitlines()]
    elif suffix == ".csv":
        csv.field_size_limit(1_000_000)
        try:
            rows = list(csv.DictReader(io.StringIO(_text(raw, path))))
        except csv.Error as error:
            raise PolicyError(f"not valid CSV: {error}", file=str(path), field=field) from None
    elif suffix == ".jsonl":
        rows = _jsonl(raw, path, field)
    elif suffix == ".parquet":
        rows = _parquet(path, field)
    else:
        raise PolicyError(
            f"unknown kind of file {suffix!r}", file=str(path), field=field, allowed=", ".join(FORMATS)
        )
    if len(rows) > MAX_ROWS:
        raise PolicyError("the file has too many rows", file=str(path), field=field, allowed=str(MAX_ROWS))
    return _named(rows, ref, path, field)


def _named(rows: list[dict[str, Any]], ref: PromptRef, path: Path, field: str) -> list[FileRow]:
    columns = [c for c in (ref.column, ref.anchor_column, ref.group_column) if c]
    present = set().union(*(set(r) for r in rows[:1000])) if rows else set(columns)
    for column in columns:
        if column not in present:
            names = ", ".join(sorted(str(c) for c in present if c)[:20])
            raise PolicyError(f"no column {column!r}", file=str(path), field=field, allowed=names)

    def get(row: dict[str, Any], column: str | None) -> str | None:
        value = row.get(column) if column else None
        return " ".join(str(value).split())[:MAX_TEXT] or None if value is not None else None

    out = [
        FileRow(text, get(r, ref.anchor_column), get(r, ref.group_column))
        for r in rows
        if (text := get(r, ref.column))
    ]
    if not out:
        raise PolicyError("the file has no prompts", file=str(path), field=field)
    return out


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


def _jsonl(raw: bytes, path: Path, field: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(_text(raw, path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise PolicyError(
                f"not valid JSON: {str(error)[:120]}", file=str(path), line=number, field=field
            ) from None
        if not isinstance(row, dict):
            raise PolicyError(
                "a line must be a JSON object",
                file=str(path),
                line=number,
                field=field,
                allowed='{"prompt": "..."}',
            )
        rows.append(row)
    return rows


def _parquet(path: Path, field: str) -> list[dict[str, Any]]:
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
    return rows


def _fetch(ref: PromptRef, field: str) -> Path:
    """One file of a hub dataset, from the local cache or the network."""
    from ..hub import download_file

    try:
        return download_file(str(ref.hub), str(ref.file), ref.revision, "dataset")
    except ModelError as error:
        reason = " ".join(str(error).split())[:200]
        raise PolicyError(
            f"the hub file {ref.hub}/{ref.file} cannot be fetched: {reason}",
            field=field,
            allowed="a local copy by `path`",
        ) from None
