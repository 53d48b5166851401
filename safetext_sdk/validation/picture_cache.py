"""Pictures of undefended models, shared by all runs of a user: what was drawn once is not drawn again.

A picture lies under its generation key, which covers every component of the pipeline, prompt, seed and
settings, in a folder for the kind of device and the versions of torch and diffusers that drew it (they
change floats, and so now and then a pixel by one level). Its hash lies beside it: a picture that is not as it
was put there is removed and drawn anew. The longest unused ones go first when the cache is full.

Whoever can write this folder can plant a picture *with* its hash, as he can in a report folder that nobody
signed; for evidence that leaves the machine, draw without a cache.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..errors import UsageError
from ..files import sha256_file, temporary_name

FOLDER = "SAFETEXT_CACHE"
"""Environment variable: the folder, or ``off``."""
LIMIT = "SAFETEXT_CACHE_GB"
"""Environment variable: how large the cache may grow."""
USUAL_GB = 5.0
_HASH_BYTES = 64
KEPT_SHARE = 0.8
"""How much of the limit stays when the oldest pictures are removed."""


def usual_folder() -> Path | None:
    """Where this user's pictures lie: ``$SAFETEXT_CACHE``, else ``safetext/pictures`` in the place that the
    system has for caches; None if it says ``off``."""
    if given := os.environ.get(FOLDER):
        return None if given == "off" else Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "safetext" / "pictures"


def limit_bytes() -> int:
    """How large the cache may grow, in bytes.

    Raises:
        UsageError: ``$SAFETEXT_CACHE_GB`` is not a number above 0.
    """
    given = os.environ.get(LIMIT, str(USUAL_GB))
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise UsageError(f"{LIMIT}={given!r}: write gigabytes, a number above 0")
    return int(gigabytes * 1e9)


@dataclass(frozen=True)
class Usage:
    """What a cache holds: how many pictures, and the bytes of all its files."""

    pictures: int
    size: int


@dataclass(frozen=True)
class _Entry:
    used: float
    size: int
    path: Path


class PictureCache:
    """Pictures under keys.

    Args:
        folder: made when the first picture is put there.
        limit: bytes; what `limit_bytes` says if left out.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder, self.limit = folder, limit_bytes() if limit is None else limit

    def take(self, place: str, key: str, path: Path) -> bool:
        """Copy a picture to ``path``; False if there is none, or it is not as it was put there.

        Args:
            place: what drew it, see `drawn_by`.
        """
        found = self._file(place, key)
        try:
            expected = found.with_suffix(".sha256").read_text(encoding="ascii").strip()
            if sha256_file(found) != expected:
                self._remove(found)
                return False
            _copy(found, path)
        except (OSError, ValueError):  # not there, or just removed by another process
            return False
        with contextlib.suppress(OSError):
            os.utime(found)  # the least recently used go first
        return True

    def put(self, place: str, key: str, path: Path) -> None:
        """Keep a copy of the picture at ``path``. A cache that cannot be written costs time and nothing else,
        so it is no error."""
        kept = self._file(place, key)
        try:
            held = self._size  # counted once, before there is one more
            kept.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, kept)
            part = temporary_name(kept)
            part.write_text(sha256_file(path), encoding="ascii")
            part.replace(kept.with_suffix(".sha256"))
            self._size = held + kept.stat().st_size + _HASH_BYTES
            if self._size > self.limit:
                self._shrink()
        except OSError:
            return

    def usage(self) -> Usage:
        """What is there now."""
        entries = list(self._entries())
        return Usage(len(entries), sum(entry.size for entry in entries))

    def clear(self) -> Usage:
        """Remove every picture of this cache, and nothing else that lies there. Returns what was removed."""
        found = self.usage()
        for entry in list(self._entries()):
            self._remove(entry.path)
        for place in self.folder.glob("*/*") if self.folder.is_dir() else ():
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        return found

    @cached_property
    def _size(self) -> int:
        return self.usage().size

    def _file(self, place: str, key: str) -> Path:
        return self.folder / place / key[:2] / f"{key}.png"

    def _entries(self) -> Iterator[_Entry]:
        for hashed in self.folder.glob("*/*/*.sha256") if self.folder.is_dir() else ():
            picture = hashed.with_suffix(".png")
            try:
                found = picture.stat()
                yield _Entry(found.st_mtime, found.st_size + hashed.stat().st_size, picture)
            except OSError:  # another process has just removed it
                continue

    def _shrink(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        left = sum(entry.size for entry in entries)
        for entry in entries:
            if left <= self.limit * KEPT_SHARE:
                break
            self._remove(entry.path)
            left -= entry.size
        self._size = left

    @staticmethod
    def _remove(picture: Path) -> None:
        with contextlib.suppress(OSError):
            picture.with_suffix(".sha256").unlink(missing_ok=True)
            picture.unlink(missing_ok=True)


def _copy(source: Path, path: Path) -> None:
    """Whole or not at all; what a crash of the machine leaves behind is found out by its hash."""
    part = temporary_name(path)
    try:
        shutil.copyfile(source, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def drawn_by(device: str) -> str:
    """The folder for pictures of one kind of device with these versions, e.g. ``cpu-torch2.13.0-...``."""
    return f"{device}-torch{_version('torch')}-diffusers{_version('diffusers')}"


def _version(package: str) -> str:
    try:
        return version(package).replace("/", "_")
    except PackageNotFoundError:
        return "unknown"
