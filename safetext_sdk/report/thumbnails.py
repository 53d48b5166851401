"""Small pictures that travel inside the page, so that it works alone; the full ones are linked beside it."""

from __future__ import annotations

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MAX_SIDE = 256
SMALL_PNG = 40_000
"""A PNG below this goes in as it is: miniature models draw pixels that a JPEG would smear."""
PNG = b"\x89PNG\r\n\x1a\n"
PAGE_BYTES = 24_000_000
"""What all pictures of a page may weigh together; a browser opens that in about a second."""
SIDES = ((1_000, MAX_SIDE), (4_000, 160), (12_000, 112))
"""So many pictures: the longest side of each."""
LEAST_SIDE = 80


@dataclass(frozen=True)
class Thumbnail:
    """One picture: its path from the page, and a small copy; None where it is gone or damaged."""

    file: str
    data: str | None


def picture_data(path: Path, side: int = MAX_SIDE, small_png: int = SMALL_PNG) -> str | None:
    """A picture as a data URI; large ones as a smaller JPEG. None where the file is gone or damaged."""
    from PIL import Image as PILImage

    try:
        if path.suffix == ".png" and path.stat().st_size < small_png:
            raw = path.read_bytes()
            if raw.startswith(PNG):
                return "data:image/png;base64," + base64.b64encode(raw).decode()
        with PILImage.open(path) as image:
            small = image.convert("RGB")
        # Reducing by whole steps first is several times as fast, and as good at this size.
        small.thumbnail((side, side), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85 if side == MAX_SIDE else 75)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    except OSError:
        return None


class Thumbnails:
    """The pictures of a page, each once, however many pairs show it.

    Args:
        folder: where the page lies: its links are relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers: dict[tuple[Path, str], int] = {}

    def index(self, file: str, report: Path | None = None) -> int:
        """The number of a picture in `made`.

        Args:
            file: path in a report folder.
            report: that folder; None: the page's own.
        """
        return self._numbers.setdefault((report or self.folder, file), len(self._numbers))

    def made(self) -> list[Thumbnail]:
        """All of them, smaller the more there are: the page stays one that a browser opens."""
        count = max(len(self._numbers), 1)
        side = next((side for most, side in SIDES if count <= most), LEAST_SIDE)
        small_png = min(SMALL_PNG, PAGE_BYTES // count)

        def make(named: tuple[Path, str]) -> Thumbnail:
            report, file = named
            inside = (report / file).resolve().is_relative_to(report.resolve())
            if report != self.folder:
                place = os.path.relpath((report / file).resolve(), self.folder.resolve())
                linked = Path(place).as_posix()
            else:
                linked = file
            return Thumbnail(linked, picture_data(report / file, side, small_png) if inside else None)

        # Pillow lets go of the interpreter while it decodes and encodes.
        with ThreadPoolExecutor() as pool:
            return list(pool.map(make, self._numbers))
