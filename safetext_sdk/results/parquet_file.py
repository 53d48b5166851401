"""``results.parquet``: the rows once more, as columns for pandas, DuckDB or Spark. ``results.jsonl`` stays
the truth: no verdict and no figure is ever read from the copy, and it names the rows that it is a copy of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ..files import atomic_file
from .record import SCHEMA_VERSION
from .rows import ResultRow

PARQUET = "results.parquet"
GROUP = 50_000
"""Rows that are in memory as columns at a time, and of a row group."""
ROWS_SHA256 = b"safetext.results_sha256"


def write_parquet(rows: Iterable[ResultRow], rows_sha256: str, path: Path) -> Path:
    """Write rows as columns: one a field, scores as detector: label: score.

    Args:
        rows_sha256: their hash, written into the file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, pq = _pyarrow()
    schema = _schema(pa).with_metadata(
        {ROWS_SHA256: rows_sha256, b"safetext.schema_version": str(SCHEMA_VERSION)}
    )
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in _parts(iter(rows)):
            columns = {name: _column(part, name) for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP)
    return path


def is_copy(path: Path, rows_sha256: str) -> bool:
    """Whether a file is the copy of these rows; False where that cannot be told."""
    try:
        _, pq = _pyarrow()
        found = pq.read_schema(path).metadata or {}
    except (MissingExtraError, OSError, ValueError):
        return False
    return found.get(ROWS_SHA256) == rows_sha256.encode()


def _parts(rows: Iterator[ResultRow]) -> Iterator[Sequence[ResultRow]]:
    while part := list(islice(rows, GROUP)):
        yield part


def _column(rows: Sequence[ResultRow], name: str) -> list[Any]:
    values = [getattr(row, name) for row in rows]
    if name == "scores":
        return [[(detector, list(found.items())) for detector, found in each.items()] for each in values]
    if name == "detectors":
        return [list(each.items()) for each in values]
    if name == "kept_by":
        return [[vote.model_dump() for vote in each] for each in values]
    if name == "change":
        return [each if each is None else each.model_dump() for each in values]
    return values


def _schema(pa: Any) -> Any:
    """As the fields of a row; texts that repeat as dictionaries."""
    text, repeated = pa.string(), pa.dictionary(pa.int32(), pa.string())
    vote = pa.struct([("judge", text), ("value", pa.float64()), ("rule", text), ("limit", pa.float64())])
    types = {
        "schema_version": pa.int32(),
        **dict.fromkeys(("model", "set", "label", "concept", "cluster", "anchor", "shows"), repeated),
        **dict.fromkeys(("negative_prompt", "origin"), repeated),
        "guidance": pa.float64(),
        "seed": pa.int64(),
        "scores": pa.map_(text, pa.map_(text, pa.float64())),
        "detectors": pa.map_(text, text),
        **dict.fromkeys(("unsafe", "kept", "anchor_shown"), pa.bool_()),
        "expected": pa.list_(text),
        "kept_by": pa.list_(vote),
        "change": pa.struct([("mean_abs", pa.float64()), ("ssim", pa.float64())]),
    }
    return pa.schema([(name, types.get(name, text)) for name in ResultRow.model_fields])


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("results as parquet", "parquet") from error
    return pa, pq
