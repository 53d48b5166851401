"""``evidence.json``: the hash of everything that a report rests on, written last; it is what a key signs.

* ``measured`` is written by a validation alone. A gate carries it over as it is: judging a report again never
  makes good what was changed since it was measured.
* ``files`` are the pages as they were last written, by validation or gate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from ..errors import RunError
from ..files import sha256_file, write_text_atomic
from .facts import Facts
from .parquet_file import PARQUET
from .record import Record
from .report import RESULTS, SUMMARY, Report, rows_sha256

EVIDENCE, EVIDENCE_SIGNATURE = "evidence.json", "evidence.sig"
PAGES = ("summary.md", "junit.xml", "report.sarif", "MODEL_CARD.md", "index.html", PARQUET)
SCHEMA_VERSION: Final = 1
Signature = Literal["unsigned", "signed"]


class Measured(Record):
    """What a validation found, by hash."""

    facts_sha256: str = Field(description="Of everything in summary.json that is not computed from rows.")
    results_sha256: str = Field(description="Of the rows.")
    policy_sha256: str = Field(description="Of the policy as resolved.")
    manifest_sha256: str | None = Field(description="Of the run's manifest.json; null without a run.")
    weights: dict[str, str] = Field(description="Weights that were measured: file: sha256.")
    pictures: dict[str, str] = Field(description="Every picture that a row names: path: sha256.")

    @classmethod
    def of(cls, report: Report) -> Measured:
        """Of a report that was just measured; reads every picture.

        Raises:
            RunError: the report lies nowhere, or a picture cannot be read.
        """
        if report.folder is None:
            raise RunError("a report that lies nowhere has no evidence")
        try:
            pictures = {name: sha256_file(report.folder / name) for name in images(report)}
        except OSError as error:
            raise RunError(f"a picture of the report cannot be read: {error}") from error
        bound = report.facts.bound
        return cls(
            facts_sha256=facts_sha256(report.facts),
            results_sha256=rows_sha256(report.rows),
            policy_sha256=report.facts.policy.sha256,
            manifest_sha256=bound.manifest_sha256 if bound else None,
            weights=report.facts.measured_files(),
            pictures=pictures,
        )


class EvidenceFile(Record):
    """``evidence.json``."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Layout of the file.")
    safetext_version: str = Field(description="Version of the library that wrote it.")
    measured: Measured = Field(description="What was measured.")
    files: dict[str, str] = Field(description="Files of the report as they were last written: sha256.")


def images(report: Report) -> list[str]:
    """Every picture that a row names, each once."""
    return list(dict.fromkeys(row.image for row in report.rows))


def inside(folder: Path, name: str) -> bool:
    """Whether a recorded path leads to a place in the folder; a record can be forged."""
    return (folder / name).resolve().is_relative_to(folder.resolve())


def changed_pictures(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Pictures that are there and have another hash than was recorded."""
    there = (n for n in recorded if inside(folder, n) and (folder / n).is_file())
    return [name for name in there if sha256_file(folder / name) != recorded[name]]


def facts_sha256(facts: Facts) -> str:
    """Hash of the facts' meaning: a field that is absent counts like its default."""
    plain = facts.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_evidence(folder: Path) -> EvidenceFile | None:
    """The evidence of a report folder; None where there is none.

    Raises:
        RunError: it is damaged or of another version.
    """
    path = folder / EVIDENCE
    try:
        return EvidenceFile.model_validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} cannot be read as evidence of a report; validate again") from error


def page_hashes(folder: Path) -> dict[str, str]:
    """Rows, summary and pages as they are now."""
    return {n: sha256_file(folder / n) for n in (RESULTS, SUMMARY, *PAGES) if (folder / n).is_file()}


def write_evidence(folder: Path, measured: Measured, version: str) -> Path:
    """Put ``evidence.json`` over the files that lie there now; the last file of a report to be written."""
    made = EvidenceFile(safetext_version=version, measured=measured, files=page_hashes(folder))
    return write_text_atomic(folder / EVIDENCE, made.model_dump_json(indent=2) + "\n")


def signature_of(folder: Path | None) -> Signature:
    """Whether a signature lies beside the evidence; whether it holds only a public key can tell."""
    return "signed" if folder is not None and (folder / EVIDENCE_SIGNATURE).is_file() else "unsigned"
