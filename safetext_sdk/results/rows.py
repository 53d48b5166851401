"""results.jsonl: one scored picture a line, appended as it is scored, rewritten whole at the end.

A killed run leaves at worst half a last line, which is dropped on reading; every whole row is used again if
its key still fits. NaN is refused on writing and on reading: no score that is not a number gets into a
figure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import write_text_atomic

Row = dict[str, Any]
REQUIRED = (
    "key",
    "model",
    "set",
    "concept",
    "prompt",
    "negative_prompt",
    "seed",
    "image",
    "scores",
    "unsafe",
    "shows",
)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no score")


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_rows(path: Path, *, partial: bool = False) -> list[Row]:
    """All rows of a file.

    Args:
        partial: drop a damaged last line (a run that was killed while writing); elsewhere damage is an error.

    Raises:
        RunError: the file is missing, damaged, or holds a value that is not a number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        if partial:
            return []
        raise RunError(f"no results at {path}; run `safetext validate` first") from error
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line, parse_constant=_refuse)
            missing = [name for name in REQUIRED if name not in row]
            if missing:
                raise ValueError(f"lacks {', '.join(missing)}")
        except (ValueError, TypeError) as error:
            if partial and number == len(lines):
                break
            raise RunError(
                f"{path}:{number} is damaged ({error}); delete the file and validate again"
            ) from error
        rows.append(row)
    return rows


class RowFile:
    """Append-only while a validation runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {row["key"]: row for row in read_rows(path, partial=True)}
        # What was read is written back whole: a half line must not be continued.
        self.rewrite(self.rows.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows and flush them to disk."""
        rows = list(rows)
        with self.path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.writelines(_line(row) for row in rows)
            handle.flush()
            os.fsync(handle.fileno())
        self.rows.update({row["key"]: row for row in rows})

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the file: the rows of this validation, in order, without stale ones."""
        write_text_atomic(self.path, "".join(_line(row) for row in rows))
