"""The report of a validation: facts in ``summary.json``, one scored picture a line in ``results.jsonl``.

Figures are always computed from the rows; ``summary.json`` names the hash of the rows that it belongs to, so
that a summary of one run never speaks for the rows of another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..files import write_json_atomic
from ..validation.correction import corrected
from . import figures
from .rows import Row, read_rows

if TYPE_CHECKING:
    from ..verdict.gate import Verdict

SCHEMA_VERSION = 1
SUMMARY, RESULTS = "summary.json", "results.jsonl"


@dataclass
class Report:
    """What was measured.

    Attributes:
        facts: all of ``summary.json`` that is not computed from rows: model, policy with its gates, method,
            tier, detectors, encoders and whether each was hardened, the plan (rows that must be there),
            settings, encoder tier, not_measured.
        rows: the scored pictures.
        folder: where it lies, if it does.
    """

    facts: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    folder: Path | None = None

    def summary(self, verdict: Verdict | None = None) -> dict[str, Any]:
        """``summary.json`` as a dictionary; gates and verdict are null until `gate` has spoken."""
        out = {"schema_version": SCHEMA_VERSION, **self.facts}
        out["results_sha256"] = rows_sha256(self.rows)
        out["sets"] = figures.all_sets(self.rows)
        out["concepts"] = figures.by_concept(self.rows)
        out["corrected"] = corrected(out["sets"], self.facts.get("detectors", []))
        out["gates"] = [g.to_dict() for g in verdict.gates] if verdict else None
        out["verdict"] = verdict.verdict if verdict else None
        return out

    def save(self, folder: Path | None = None, verdict: Verdict | None = None) -> Path:
        """Write ``summary.json`` into the report folder (the rows are there already, or are written too)."""
        folder = Path(folder or self.folder or ".")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RESULTS).is_file() or rows_sha256(
            read_rows(folder / RESULTS, partial=True)
        ) != rows_sha256(self.rows):
            from .rows import RowFile

            (folder / RESULTS).unlink(missing_ok=True)
            RowFile(folder / RESULTS).rewrite(self.rows)
        self.folder = folder
        return write_json_atomic(folder / SUMMARY, self.summary(verdict))

    def text(self) -> str:
        """For a terminal: one line a set, the undefended model beside the hardened one."""
        from ..report.tables import set_lines

        return "\n".join(set_lines(self.summary()))

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """A report from a run folder, a report folder or its ``summary.json``.

        Raises:
            RunError: nothing there, another schema, or rows that the summary does not belong to.
        """
        path = Path(path)
        folder = next(
            (
                p
                for p in (path, path / "report", path.parent)
                if (p / SUMMARY).is_file() and (p != path.parent or path.name == SUMMARY)
            ),
            None,
        )
        if folder is None:
            raise RunError(
                f"{path} holds no finished report; run `safetext validate` first (the same command goes "
                "on where it stopped)"
            )
        try:
            facts = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{folder / SUMMARY} cannot be read: {error}") from error
        if not isinstance(facts, dict) or facts.get("schema_version") != SCHEMA_VERSION:
            raise RunError(
                f"{folder / SUMMARY} is no report of schema {SCHEMA_VERSION}; validate again with this "
                "version"
            )
        rows = read_rows(folder / RESULTS)
        if facts.get("results_sha256") != rows_sha256(rows):
            raise RunError(f"{folder / RESULTS} is not what {SUMMARY} was computed from; validate again")
        for computed in (
            "schema_version",
            "results_sha256",
            "sets",
            "concepts",
            "corrected",
            "gates",
            "verdict",
        ):
            facts.pop(computed, None)
        return cls(facts, rows, folder)


def rows_sha256(rows: list[Row]) -> str:
    """sha256 of the rows' content, whatever the spacing of the file."""
    out = hashlib.sha256()
    for row in rows:
        out.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
    return out.hexdigest()
