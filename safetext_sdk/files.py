"""Files that are either complete or absent: everything is written to a temporary name beside its goal and
renamed.

* A run that is killed at any moment leaves at worst a hidden ``.name.tmp-*`` file, never half a file under a
  final name; the next command that takes the folder removes it (`sweep`).
* Modes follow the umask, whoever wrote the file: safetensors makes its files 0600, which a colleague or a
  server's account then cannot read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError

_BLOCK = 1 << 20
_LEFTOVER = re.compile(r"\..+\.tmp-[0-9a-f]{12}")


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder (so that a rename stays on one disk), new at every call."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")


def is_leftover(path: Path) -> bool:
    """Whether a name is one of `temporary_name`: what a killed process could not remove.

    >>> is_leftover(Path("runs/.manifest.json.tmp-0123456789ab")), is_leftover(Path("runs/.tmp-1"))
    (True, False)
    """
    return _LEFTOVER.fullmatch(path.name) is not None


def sweep(folder: str | Path, name: str | None = None) -> int:
    """Remove what killed processes left in a folder (not in those below it); returns how many names.

    For whoever has taken the folder for itself: the temporary files of a process that still writes there look
    the same.

    Args:
        name: only what was to become this file or folder.
    """
    found = [path for path in Path(folder).glob(".*") if is_leftover(path)]
    if name is not None:
        found = [path for path in found if path.name.startswith(f".{name}.tmp-")]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def _usual_mode(folder: Path) -> int:
    """The mode that a new file in ``folder`` gets. A probe, because reading the umask means setting it, for
    all threads."""
    probe = temporary_name(folder / "mode")
    try:
        probe.touch(exist_ok=False)
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)


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
        temporary.chmod(_usual_mode(path.parent))
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
        mode = _usual_mode(temporary)
        for written in temporary.rglob("*"):
            if written.is_file() and not written.is_symlink():
                written.chmod(mode)
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


def write_together(folder: Path, texts: Mapping[str, str | Iterable[str]]) -> None:
    """Write several files of a folder so that they change at almost the same moment: all are on disk under
    temporary names before the first is renamed. A text may come in parts."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name, text in texts.items():
            # Left in reverse order, each with its rename: the last of ``texts`` is put in place first.
            temporary = stack.enter_context(atomic_file(folder / name))
            with temporary.open("w", encoding="utf-8", newline="\n") as handle:
                handle.writelines([text] if isinstance(text, str) else text)


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


_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def check_image_name(path: str | Path) -> None:
    """Refuse a name that tells no format, before minutes are spent on the picture.

    Raises:
        UsageError: another ending than .png, .jpg, .jpeg and .webp.
    """
    if Path(path).suffix.lower() not in _PICTURES:
        raise UsageError(f"{path}: the name of a picture ends in .png, .jpg or .webp")


def save_image(image: Any, path: str | Path) -> Path:
    """Write a PIL image; the format follows the name's ending.

    Raises:
        UsageError: as `check_image_name`.
    """
    path = Path(path)
    check_image_name(path)
    with atomic_file(path) as temporary:
        image.save(temporary, format=_PICTURES[path.suffix.lower()])
    return path
