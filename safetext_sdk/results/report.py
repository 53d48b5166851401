"""The report of a validation: facts in ``summary.json``, one scored picture a line in ``results.jsonl``.

Figures are always computed from the rows; ``summary.json`` names the hash of the rows that it belongs to, so
that a summary of one run never speaks for the rows of another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import ValidationError

from ..errors import RunError
from ..files import write_together
from .facts import Facts
from .packed_rows import PackedRows, load_rows
from .record import SCHEMA_VERSION
from .rows import ResultRow
from .summary import Summary

SUMMARY, RESULTS = "summary.json", "results.jsonl"
UNFINISHED = "results.partial.jsonl"
"""Rows of a validation that is not finished: the report that lies there stays whole until it is."""


def is_unfinished(name: str) -> bool:
    """Whether a file holds such rows: `UNFINISHED`, or those of a further process."""
    return fnmatchcase(name, UNFINISHED) or fnmatchcase(name, UNFINISHED.replace(".jsonl", ".*.jsonl"))


def drop_unfinished(folder: Path) -> None:
    """Remove the rows that a validation wrote ahead, now that its report is in place. Judging an older report
    leaves them: the validation that was stopped goes on from them."""
    (folder / UNFINISHED).unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured: a value that nothing changes. Two reports are equal only if they are one object.

    Attributes:
        facts: model, policy, settings, plan, and what was measured without pictures.
        rows: the scored pictures; of a large report packed, see `packed_rows`.
        folder: where it lies, if it does.
        values: files of values of single pictures (`values_file`: lines) that are not written yet; those of a
            report that was read lie in its folder.
    """

    facts: Facts
    rows: Sequence[ResultRow] = ()
    folder: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def save(self, summary: Summary, folder: Path | None = None) -> Path:
        """Write ``summary.json`` (and the rows, unless they are there) into the report folder; returns its
        path.

        Raises:
            RunError: the summary belongs to other rows, or there is no folder.
        """
        place = folder or self.folder
        if place is None:
            raise RunError("the report has no folder to be saved in")
        write_together(place, self.texts(summary, place))
        return place / SUMMARY

    def texts(self, summary: Summary, place: Path) -> dict[str, str | Iterable[str]]:
        """The text of its files, by name: summary, rows, and values of single pictures that are not written
        yet; without the rows if these very rows lie at their place already and are many.

        Raises:
            RunError: the summary belongs to other rows.
        """
        if summary.results_sha256 != rows_sha256(self.rows):
            raise RunError("the summary was computed from other rows than those of this report")
        texts: dict[str, str | Iterable[str]] = {**self.values}
        if not (isinstance(self.rows, PackedRows) and self.rows.lie_at(place / RESULTS)):
            texts[RESULTS] = (row.line() for row in self.rows)
        return {**texts, SUMMARY: summary.model_dump_json(indent=2) + "\n"}

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """A report from a run folder, a report folder or its ``summary.json``.

        Raises:
            RunError: nothing there, another schema, or rows that the summary does not belong to.
        """
        folder = _folder(Path(path))
        file = folder / SUMMARY
        try:
            text = file.read_text(encoding="utf-8")
            data = json.loads(text)
        except (OSError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {error}") from error
        found = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(found, str) and found.startswith("attacks/"):
            raise RunError(f"{folder} is a report of attacks alone, which no gate and no comparison reads")
        if found != SCHEMA_VERSION:
            named = f"of schema {found}" if isinstance(found, int) else "no summary of a report"
            raise RunError(f"{file} is {named}, this version reads schema {SCHEMA_VERSION}; validate again")
        try:
            summary = Summary.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RunError(f"{file} is damaged ({where}: {first['msg']}); validate again") from error
        rows = load_rows(folder / RESULTS)
        if isinstance(rows, PackedRows):
            rows.written_as(summary.results_sha256)
        if summary.results_sha256 != rows_sha256(rows):
            raise RunError(f"{folder / RESULTS} is not what {SUMMARY} was computed from; validate again")
        return cls(summary.facts(), rows, folder)


def _folder(path: Path) -> Path:
    for folder in (path, path / "report"):
        if (folder / SUMMARY).is_file():
            return folder
    if path.name == SUMMARY and path.is_file():
        return path.parent
    absent = "" if path.exists() else " (there is no such folder)"
    raise RunError(
        f"{path} holds no finished report{absent}; run `safetext validate` first (the same command goes on "
        "where it stopped)"
    )


def rows_sha256(rows: Iterable[ResultRow]) -> str:
    """sha256 of the rows' content, whatever the spacing of the file."""
    if isinstance(rows, PackedRows):
        return rows.sha256
    out = hashlib.sha256()
    for row in rows:
        out.update(row.line().encode())
    return out.hexdigest()
