"""Where the pictures of a report lie: asked of a million of them without a million questions to the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PicturePlaces:
    """Recorded paths, sorted out; each list in the order given.

    Attributes:
        there: files inside of the report folder.
        missing: inside of it, and not there.
        outside: paths that lead out of it; a record can be forged.
    """

    there: list[str]
    missing: list[str]
    outside: list[str]


def find_pictures(folder: Path, names: Iterable[str]) -> PicturePlaces:
    """Look for pictures, a folder at a time: links are followed, as whoever opens a picture would."""
    root, known = folder.resolve(), dict[str, dict[str, bool] | None]()
    found = PicturePlaces([], [], [])
    for name in names:
        place, _, last = name.rpartition("/")
        if place not in known:
            known[place] = _listed(folder / place, root)
        files = known[place]
        if files is None or last in ("", ".", ".."):  # not a plain name in a folder of the report
            _look(folder, root, name, found)
        elif last not in files:
            found.missing.append(name)
        elif files[last]:
            found.there.append(name)
        else:
            _look(folder, root, name, found)
    return found


def _listed(place: Path, root: Path) -> dict[str, bool] | None:
    """Names in a folder: whether each is a file and no link; None where it is not inside of the root."""
    if not place.resolve().is_relative_to(root):
        return None
    try:
        with os.scandir(place) as entries:
            return {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except OSError:
        return {}


def _look(folder: Path, root: Path, name: str, found: PicturePlaces) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(root):
        found.outside.append(name)
    else:
        (found.there if path.is_file() else found.missing).append(name)
