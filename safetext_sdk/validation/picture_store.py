"""Pictures where no folder is shared: a place that fsspec reaches (``s3://bucket/run``, ``gs://``, a folder).
Workers keep what they draw there and fetch what they look at; this process fetches all, so that a report
folder is whole."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import atomic_file

AT_ONCE = 16
"""Transfers at once: a picture is small, and most of its time is waiting."""


@dataclass(frozen=True)
class PictureStore:
    """Pictures by file name.

    Args:
        url: where they lie; the package of a scheme (s3fs, gcsfs) has to be installed wherever it is used.

    Raises:
        UsageError: no such scheme, or its package is missing.
    """

    url: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"pictures cannot be kept at {self.url}: {error}") from error
        return fs, root

    def take(self, paths: Iterable[Path]) -> None:
        """Fetch pictures that are there and not here yet, by the names of the files that they become."""
        fs, root = self._place

        def one(path: Path) -> None:
            try:
                data = fs.cat_file(posixpath.join(root, path.name))
            except FileNotFoundError:
                return
            with atomic_file(path) as temporary:
                temporary.write_bytes(data)

        self._each(one, [path for path in dict.fromkeys(paths) if not path.is_file()])

    def put(self, paths: Iterable[Path]) -> None:
        """Keep pictures that are here and not there yet; whoever reads sees a whole one or none."""
        fs, root = self._place
        local = "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)
        if local:
            fs.makedirs(root, exist_ok=True)

        def one(path: Path) -> None:
            goal = posixpath.join(root, path.name)
            if fs.exists(goal):
                return
            part = (
                f"{goal}.{uuid.uuid4().hex}.part" if local else goal
            )  # an object appears whole, a file grows
            fs.pipe_file(part, path.read_bytes())
            if local:
                Path(part).replace(goal)

        self._each(one, [path for path in dict.fromkeys(paths) if path.is_file()])

    @staticmethod
    def _each(one: Any, paths: list[Path]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, paths))
