"""Were files changed since they were recorded?

`verify_files` compares a run folder, an export or a report with the sha256 of every file in its record:
changed, missing, added. Reports are part of their run: every page and every picture is read. That proves that
nothing changed since the record was written; who wrote it is proved by a signature (``--sign`` of ``export``,
``validate`` and ``gate``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import EXIT_FAIL, EXIT_PASS, RunError
from ..files import sha256_file
from ..models.run_folder import EXPORT_RECORD, MANIFEST, SIGNATURE
from ..results.attacked_prompt import FOLDER as ATTACKED
from ..results.evidence_file import (
    EVIDENCE,
    EVIDENCE_SIGNATURE,
    EvidenceFile,
    facts_sha256,
    images,
    inside,
    read_evidence,
)
from ..results.measures import recorded_values
from ..results.report import RESULTS, SUMMARY, Report, is_unfinished, rows_sha256

_EXPORTS = "exports"
# Written after the manifest, each with records of its own (exports, reports) or none that prove anything
# (checkpoints).
_LATER = ("report", "report-exported", _EXPORTS, "checkpoints")
_REPORTS = ("report", "report-exported")
_NOBODYS = ("images/", f"{ATTACKED}/")


@dataclass(frozen=True)
class FileCheck:
    """What differs between a folder and its record. Paths are relative to ``folder``; ``checked`` counts the
    files in the record."""

    folder: Path
    checked: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.changed or self.missing or self.added)

    @property
    def exit_code(self) -> int:
        """0 if nothing differs, else 1."""
        return EXIT_PASS if self.ok else EXIT_FAIL

    def text(self) -> str:
        """For a person: one line a difference, or one line that says there is none."""
        if self.ok:
            return f"{self.folder}: all {self.checked} files are as recorded"
        rows = [
            f"  {what}: {name}" for what in ("changed", "missing", "added") for name in getattr(self, what)
        ]
        return "\n".join([f"{self.folder}: NOT as recorded", *rows])

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder), "ok": self.ok, "exit_code": self.exit_code}


def verify_files(target: str | Path) -> FileCheck:
    """Compare a run folder (exports and reports included) or an exported folder with its recorded hashes.
    What lies among a run's exports without a record counts as added.

    Args:
        target: folder with ``manifest.json`` (run), ``export.json`` (export) or ``evidence.json`` (report); a
            file in it stands for that folder.

    Raises:
        RunError: there is no record, or it cannot be read: nothing can be said, which is not a pass.
    """
    folder = record_folder(target)
    if (folder / MANIFEST).is_file():
        check = _compare(folder, _recorded(folder / MANIFEST), skip=_LATER)
        exports = exports_of(folder)
        for export in exports:
            check = _joined(check, _compare(export, _recorded(export / EXPORT_RECORD)))
        check = replace(check, added=(*check.added, *_unrecorded(folder, exports)))
        for report in reports_of(folder):
            check = _joined(check, verify_report(report))
        return check
    if (folder / EVIDENCE).is_file():
        return verify_report(folder)
    return _compare(folder, _recorded(folder / EXPORT_RECORD))


def exports_of(run: Path) -> list[Path]:
    """Exported folders in a run folder: those that have a record and lie in no other; one may be a link."""
    records = (*run.glob(f"{_EXPORTS}/**/{EXPORT_RECORD}"), *run.glob(f"{_EXPORTS}/*/{EXPORT_RECORD}"))
    found = {record.parent for record in records}
    return sorted(folder for folder in found if not found & {*folder.parents})


def _unrecorded(run: Path, exports: Iterable[Path]) -> tuple[str, ...]:
    """Files among the exports of a run that no export's record is about: a front-end that is pointed at the
    folder would load them. A folder that is a link stands for what is in it."""
    recorded = {*exports}
    return tuple(
        path.relative_to(run).as_posix()
        for path in sorted((run / _EXPORTS).rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and not recorded & {path, *path.parents}
    )


def reports_of(run: Path) -> list[Path]:
    """Report folders in a run folder that hold something finished."""
    return [run / n for n in _REPORTS if any((run / n / f).is_file() for f in (EVIDENCE, SUMMARY))]


def verify_report(folder: Path) -> FileCheck:
    """Compare a report with its evidence: rows, summary, pages, every picture that a row names, and values of
    pictures that metrics took. Further
    pictures are left over from earlier validations and are nobody's; so are attacked prompts kept on disk to
    go on from: those that were measured stand in the rows.

    Raises:
        RunError: the evidence is damaged.
    """
    evidence = read_evidence(folder)
    if evidence is None:
        return FileCheck(folder, 0, missing=(EVIDENCE,))
    recorded = {**evidence.files, **evidence.measured.pictures, **_values(folder)}
    changed = [n for n in recorded if (folder / n).is_file() and not _as_recorded(folder, n, recorded[n])]
    missing = [n for n in recorded if not (folder / n).is_file()]
    if RESULTS not in evidence.files or SUMMARY not in evidence.files:
        missing.append(f"{RESULTS} or {SUMMARY} in {EVIDENCE}")
    changed += _not_as_measured(folder, evidence)
    own = {EVIDENCE, EVIDENCE_SIGNATURE, *recorded}
    there = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
    added = tuple(n for n in there if n not in own and not n.startswith(_NOBODYS) and not is_unfinished(n))
    return FileCheck(folder, len(recorded), tuple(changed), tuple(missing), added)


def _values(folder: Path) -> dict[str, str]:
    """Values of single pictures as the facts record them; whether those are as measured is told elsewhere."""
    try:
        return recorded_values(Report.load(folder).facts.measures)
    except RunError:  # told by `_not_as_measured`
        return {}


def _as_recorded(folder: Path, name: str, sha256: str) -> bool:
    return inside(folder, name) and sha256_file(folder / name) == sha256


def _not_as_measured(folder: Path, evidence: EvidenceFile) -> list[str]:
    """What the evidence says of the report's content, beside the bytes of its files."""
    try:
        report, measured = Report.load(folder), evidence.measured
    except RunError as error:
        return [f"{SUMMARY} ({error})"]
    found = {SUMMARY: facts_sha256(report.facts), RESULTS: rows_sha256(report.rows)}
    said = {SUMMARY: measured.facts_sha256, RESULTS: measured.results_sha256}
    out = [f"{name} (not what was measured)" for name in said if found[name] != said[name]]
    if unrecorded := [n for n in images(report) if n not in measured.pictures]:
        out.append(f"{len(unrecorded)} pictures without a recorded hash")
    if (audited := report.facts.audited) is not None:
        as_read = {
            n: (folder / n).is_file() and sha256_file(folder / n) == s for n, s in audited.files.items()
        }
        out += [f"{name} (the encoder that was measured)" for name, same in as_read.items() if not same]
    manifest = folder.parent / MANIFEST
    if manifest.is_file() and sha256_file(manifest) != measured.manifest_sha256:
        out.append(f"{EVIDENCE} (about another run)")
    return out


def record_folder(target: str | Path) -> Path:
    """The run, export or report folder that ``target`` is, or lies in.

    Raises:
        RunError: no record there.
    """
    target = Path(target)
    folder = target if target.is_dir() else target.parent
    for place in (folder, folder.parent):
        if any((place / record).is_file() for record in (MANIFEST, EXPORT_RECORD, EVIDENCE)):
            return place
    what = (
        "does not exist"
        if not target.exists()
        else f"has no {MANIFEST} and no {EXPORT_RECORD}, so there is nothing to compare it with"
    )
    raise RunError(f"{target} {what}")


def _recorded(path: Path) -> dict[str, str]:
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read as a record of files: {error}") from error
    if not isinstance(files, dict) or not files:
        raise RunError(f"{path} records no files, so nothing can be checked")
    return files


def _compare(folder: Path, recorded: dict[str, str], skip: tuple[str, ...] = ()) -> FileCheck:
    own = {MANIFEST, EXPORT_RECORD, SIGNATURE}
    present = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in own and path.relative_to(folder).parts[0] not in skip:
            present[name] = path
    changed = tuple(n for n in recorded if n in present and sha256_file(present[n]) != recorded[n])
    return FileCheck(
        folder,
        len(recorded),
        changed,
        tuple(n for n in recorded if n not in present),
        tuple(n for n in present if n not in recorded),
    )


def _joined(check: FileCheck, inner: FileCheck) -> FileCheck:
    prefix = inner.folder.relative_to(check.folder).as_posix()
    names = {
        what: (*getattr(check, what), *(f"{prefix}/{n}" for n in getattr(inner, what)))
        for what in ("changed", "missing", "added")
    }
    return FileCheck(check.folder, check.checked + inner.checked, **names)
