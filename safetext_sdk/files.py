"""Files that are either whole or absent: everything is written to a temporary name beside its goal and
    renamed.

A run that is killed at any moment leaves at worst a hidden ``.name.tmp-*`` file, never half a file under a
final name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder (so that a rename stays on one disk), new at every call."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes ``path``, on an error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it becomes ``path`` (an older one is replaced), on an
    error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_name(path), temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        # Two renames, because no system replaces a folder that has files in one.
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists():
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(old, path)


def write_text_atomic(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8 with ``\\n`` line ends; returns the path."""
    path = Path(path)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json_atomic(path: str | Path, data: Any) -> Path:
    """Write ``data`` as readable JSON (two spaces, a final line end). NaN and infinities are refused: JSON
    has none."""
    return write_text_atomic(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def save_image(image: Any, path: str | Path) -> Path:
    """Write a PIL image; the format follows the name's ending."""
    path = Path(path)
    with atomic_file(path) as temporary:
        image.save(
            temporary,
            format={"jpg": "JPEG", "jpeg": "JPEG"}.get(path.suffix[1:].lower(), path.suffix[1:].upper()),
        )
    return path
