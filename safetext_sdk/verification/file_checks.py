"""Were files changed since they were recorded?

`verify_files` compares a run folder or an export with the sha256 of every file in its record: changed,
missing, added. That proves that nothing changed since the record was written; who wrote it is proved by a
signature (``safetext export --sign``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import EXIT_FAIL, EXIT_PASS, RunError
from ..files import sha256_file
from ..models.run_folder import EXPORT_RECORD, MANIFEST, SIGNATURE

# Written after the manifest, each with records of its own (exports) or none that prove anything (report,
# checkpoints).
_LATER = ("report", "report-exported", "exports", "checkpoints")


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
    """Compare a run folder (and the exports in it) or an exported folder with its recorded hashes.

    Args:
        target: folder with ``manifest.json`` (run) or ``export.json`` (export); a file in an exported folder
            stands for that folder.

    Raises:
        RunError: there is no record, or it cannot be read: nothing can be said, which is not a pass.
    """
    folder = record_folder(target)
    if (folder / MANIFEST).is_file():
        check = _compare(folder, _recorded(folder / MANIFEST), skip=_LATER)
        for record in sorted(folder.glob(f"exports/**/{EXPORT_RECORD}")):
            check = _joined(check, verify_files(record.parent))
        return check
    return _compare(folder, _recorded(folder / EXPORT_RECORD))


def record_folder(target: str | Path) -> Path:
    """The run or export folder that ``target`` is, or lies in.

    Raises:
        RunError: no record there.
    """
    target = Path(target)
    folder = target if target.is_dir() else target.parent
    for place in (folder, folder.parent):
        if (place / MANIFEST).is_file() or (place / EXPORT_RECORD).is_file():
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
