"""The run folder: everything of one hardening, on disk, with a manifest that proves what it is.

* ``settings.json`` is written first: what was asked for. ``resume`` compares against it.
* ``manifest.json`` is written last: a folder without one is a run that did not finish, and is never taken for
  a hardened model.
* The manifest has the sha256 of every file that hardening wrote; `RunFolder.check` finds what changed since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..files import is_leftover, sha256_file, sweep, write_json_atomic, write_text_atomic
from .layout import tokenizer_name
from .manifest import Manifest, RunSettings, read_record, upgraded

if TYPE_CHECKING:
    from ..policy import Policy

MANIFEST, SETTINGS, POLICY = "manifest.json", "settings.json", "policy.yaml"
EXPORT_RECORD = "export.json"
"""The record of an export: what `MANIFEST` is to a run."""
SIGNATURE = "model.sig"
"""Signature over a run or an export, beside its record."""
# Folders that belong to hardening; report/ and exports/ are written later and have records of their own.
_HASHED = (
    *("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4"),
    *("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4"),
    "lora",
)


class RunFolder:
    """One hardening on disk. Make one with `create`, read one with `open`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(cls, path: str | Path, *, resume: bool = False) -> RunFolder:
        """Take ``path`` for a new run, or for going on with an unfinished one.

        Raises:
            RunError: the folder already holds something and ``resume`` was not asked for, or it is no run
                folder.
        """
        run = cls(path)
        if run.path.is_file():
            raise RunError(f"{path} is a file; --out needs a folder")
        if run.path.is_dir() and not all(is_leftover(path) for path in run.path.iterdir()):
            if not (run.path / SETTINGS).is_file():
                raise RunError(f"{path} is not empty and holds no run; choose another --out")
            if not resume:
                state = "a finished run" if run.finished else "an unfinished run"
                raise RunError(
                    f"{path} holds {state}; add --resume to go on with it, or choose another --out"
                )
        run.path.mkdir(parents=True, exist_ok=True)
        for place in (run.path, run.checkpoints_dir):
            sweep(place)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """A finished run.

        Raises:
            RunError: no run there, or one that did not finish.
        """
        run = cls(path)
        if run.finished:
            return run
        if (run.path / SETTINGS).is_file():
            raise RunError(
                f"{path} holds a run that did not finish; run the same harden command with --resume first"
            )
        lacks = f"it has no {MANIFEST}" if run.path.is_dir() else "there is no such folder"
        raise RunError(f"{path} is not a run folder ({lacks}); `safetext harden ... --out {path}` makes one")

    @classmethod
    def is_run(cls, path: str | Path) -> bool:
        """Whether ``path`` looks like a run folder, finished or not."""
        return (Path(path) / MANIFEST).is_file() or (Path(path) / SETTINGS).is_file()

    @property
    def finished(self) -> bool:
        """Whether hardening reached its end (the manifest is written last)."""
        return (self.path / MANIFEST).is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as plain data, read afresh; see `record` for the typed one.

        Raises:
            RunError: absent, unreadable, or of a version that this library does not read.
        """
        return upgraded(self._read(MANIFEST), str(self.path / MANIFEST))

    @property
    def record(self) -> Manifest:
        """The manifest, read afresh and checked.

        Raises:
            RunError: absent, unreadable, damaged, or of a version that this library does not read.
        """
        record: Manifest = read_record(Manifest, self.manifest, str(self.path / MANIFEST))
        return record

    @property
    def settings(self) -> RunSettings:
        """What the run was started with.

        Raises:
            RunError: absent, damaged, or of an older version, which cannot be gone on with.
        """
        data, place = self._read(SETTINGS), self.path / SETTINGS
        if "schema_version" not in data:
            raise RunError(
                f"{place} was written by an older version, whose runs cannot be resumed; use another --out"
            )
        settings: RunSettings = read_record(RunSettings, data, str(place))
        return settings

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is missing") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RunError(f"{path} is not a JSON object")
        return data

    def write_settings(self, settings: RunSettings) -> None:
        """Record what the run is started with."""
        write_json_atomic(self.path / SETTINGS, settings.model_dump(mode="json"))

    def write_policy(self, yaml_text: str) -> None:
        """Record the policy as resolved."""
        write_text_atomic(self.path / POLICY, yaml_text)

    def write_manifest(self, manifest: Manifest) -> None:
        """Finish the run: hash every file hardening wrote and put the manifest in place."""
        whole = manifest.model_copy(update={"files": self.hashes()})
        write_json_atomic(self.path / MANIFEST, whole.model_dump(mode="json"))

    def policy(self) -> Policy:
        """The policy this run was hardened with."""
        from ..policy import load_policy

        path = self.path / POLICY
        if not path.is_file():
            raise RunError(f"{path} is missing")
        return load_policy(path)

    def encoder_dir(self, name: str = "text_encoder") -> Path:
        """Folder of one encoder, e.g. ``text_encoder_2``."""
        return self.path / name

    def tokenizer_dir(self, encoder: str = "text_encoder") -> Path:
        """Folder of the tokenizer that belongs to an encoder."""
        return self.path / tokenizer_name(encoder)

    @property
    def report_dir(self) -> Path:
        return self.path / "report"

    @property
    def exports_dir(self) -> Path:
        return self.path / "exports"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    def written(self) -> dict[str, Path]:
        """Every file that hardening wrote, by its path in the run folder, sorted."""
        paths = [self.path / POLICY, self.path / SETTINGS]
        for name in _HASHED:
            paths += (self.path / name).rglob("*")
        return {
            p.relative_to(self.path).as_posix(): p
            for p in sorted(paths)
            if p.is_file() and not p.name.startswith(".")
        }

    def hashes(self) -> dict[str, str]:
        """``{relative path: sha256}`` of every file that hardening wrote, sorted."""
        return {name: sha256_file(path) for name, path in self.written().items()}

    def check(self) -> list[str]:
        """What differs from the manifest, one line a file; empty if nothing does."""
        recorded: dict[str, str] = self.manifest.get("files", {})
        added = [f"{name} was added" for name in self.written() if name not in recorded]
        return sorted([*changes(self.path, recorded), *added])


def changes(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Which recorded files are missing or changed, one line each.

    Args:
        folder: that the paths are relative to.
        recorded: path: sha256.
    """
    out = []
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            out.append(f"{name} is missing")
        elif sha256_file(path) != digest:
            out.append(f"{name} was changed")
    return out
