"""A million rows in memory: the fields of a `ResultRow`, packed.

A parsed row weighs about five kilobytes, most of it dictionaries that say the same as those of its
neighbours. A `PackedRow` answers to the same names from slots: texts that rows share are one object, numbers
lie in one array, and what they are numbers of is a `Layout` that all rows of a kind share. Whoever reads rows
(metrics, checks, pages, plug-ins) reads either kind with the same code, so figures of large reports come from
the very functions that small ones come from.
"""

from __future__ import annotations

import gc
import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast, overload

from .kept import KeptVote
from .rows import PictureChange, ResultRow, iter_rows, read_rows

LARGE = 32_000_000
"""Bytes of a file whose rows are packed: about 40,000 rows, 0.2 GB unpacked."""

MANY = 40_000
"""Rows that a process keeps unpacked while it scores them, at the most."""

TEXTS = (
    "model",
    "set",
    "label",
    "concept",
    "cluster",
    "anchor",
    "prompt",
    "origin",
    "negative_prompt",
    "shows",
)
OWN = ("key", "image", "guidance", "seed", "unsafe", "kept", "anchor_shown")


@dataclass(frozen=True)
class Layout:
    """What the numbers of a row are.

    Attributes:
        scores: detector and its labels, in the order of the row.
        versions: detector and version.
        votes: judge of kept and rule; two numbers each, value and limit.
        changed: whether the distance to the original's picture is there: two numbers.
    """

    scores: tuple[tuple[str, tuple[str, ...]], ...]
    versions: tuple[tuple[str, str], ...]
    votes: tuple[tuple[str, Any], ...]
    changed: bool


class PackedRow:
    """Answers to every name of a `ResultRow`; `full` makes one."""

    __slots__ = (*TEXTS, *OWN, "expected", "layout", "numbers")
    expected: tuple[str, ...]
    layout: Layout
    numbers: array[float]
    schema_version = ResultRow.model_fields["schema_version"].default
    question = ResultRow.question
    trial = ResultRow.trial
    is_control = ResultRow.is_control
    listed_as = ResultRow.listed_as

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Detector: label: score."""
        numbers = iter(self.numbers)
        return {name: dict(zip(labels, numbers, strict=False)) for name, labels in self.layout.scores}

    @property
    def detectors(self) -> dict[str, str]:
        """Detector: version."""
        return dict(self.layout.versions)

    @property
    def kept_by(self) -> tuple[KeptVote, ...]:
        """Who told "kept"."""
        start = len(self.numbers) - 2 * (len(self.layout.votes) + self.layout.changed)
        return tuple(
            KeptVote(judge=judge, value=self.numbers[at], rule=rule, limit=self.numbers[at + 1])
            for at, (judge, rule) in zip(range(start, len(self.numbers), 2), self.layout.votes, strict=False)
        )

    @property
    def change(self) -> PictureChange | None:
        """Distance to the original's picture."""
        if not self.layout.changed:
            return None
        return PictureChange(mean_abs=self.numbers[-2], ssim=self.numbers[-1])

    def full(self) -> ResultRow:
        """The row as it was read."""
        return ResultRow.model_construct(**{name: getattr(self, name) for name in ResultRow.model_fields})

    def line(self) -> str:
        """The row as one line of the file."""
        return self.full().line()

    def model_copy(self, *, update: dict[str, Any] | None = None) -> ResultRow:
        """A full row with some fields changed."""
        return self.full().model_copy(update=update)

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As that of the full row."""
        return self.full().model_dump(**options)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (PackedRow, ResultRow)):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in ResultRow.model_fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Packed{self.full()!r}"


class Packer:
    """Packs rows one after the other; those that it packed share what is equal."""

    def __init__(self) -> None:
        self._same: dict[Any, Any] = {}

    def pack(self, row: ResultRow) -> PackedRow:
        """The same row, packed."""
        same, out = self._same, PackedRow()
        for name in TEXTS:
            text = getattr(row, name)
            setattr(out, name, same.setdefault(text, text))
        for name in OWN:
            setattr(out, name, getattr(row, name))
        out.expected = same.setdefault(row.expected, row.expected)
        change = row.change
        layout = Layout(
            tuple([(name, tuple(found)) for name, found in row.scores.items()]),
            tuple(row.detectors.items()),
            tuple([(vote.judge, vote.rule) for vote in row.kept_by]),
            change is not None,
        )
        out.layout = same.setdefault(layout, layout)
        out.numbers = array("d", [score for found in row.scores.values() for score in found.values()])
        for vote in row.kept_by:
            out.numbers.extend((vote.value, vote.limit))
        if change is not None:
            out.numbers.extend((change.mean_abs, change.ssim))
        return out


class PackedRows(Sequence[ResultRow]):
    """Rows of a report, packed; a value that nothing changes.

    Args:
        rows: in order.
        file, file_sha256: where they were read from, and the hash of its bytes.
    """

    def __init__(
        self, rows: list[PackedRow], file: Path | None = None, file_sha256: str | None = None
    ) -> None:
        self._rows = rows
        self.file, self.file_sha256 = file, file_sha256
        self._stat = _stat(file) if file is not None else None

    @classmethod
    def of(cls, rows: Iterable[ResultRow]) -> PackedRows:
        """Rows that are in memory."""
        pack = Packer().pack
        return cls([pack(row) for row in rows])

    @classmethod
    def read(cls, path: Path) -> PackedRows:
        """All rows of a file.

        Raises:
            RunError: as `read_rows`.
        """
        digest, pack = hashlib.sha256(), Packer().pack
        with _no_collection():
            rows = [pack(row) for row in iter_rows(path, seen=digest.update)]
        return cls(rows, path, digest.hexdigest())

    @cached_property
    def sha256(self) -> str:
        """Hash of the rows' content, whatever the spacing of the file; see `written_as`."""
        out = hashlib.sha256()
        for row in self._rows:
            out.update(row.line().encode())
        return out.hexdigest()

    def written_as(self, sha256: str) -> None:
        """Tell the hash that rows were written under: where the bytes of the file have it, every line is as a
        row writes itself, and a million rows need not be written again to know their hash."""
        if self.file_sha256 == sha256:
            self.__dict__["sha256"] = sha256

    def lie_at(self, path: Path) -> bool:
        """Whether a file is the one that these rows were read from, as they write themselves and not touched
        since."""
        if self.file is None or path.absolute() != self.file.absolute() or self.sha256 != self.file_sha256:
            return False
        return self._stat is not None and _stat(path) == self._stat

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ResultRow]: ...
    def __getitem__(self, index: int | slice) -> ResultRow | Sequence[ResultRow]:
        if isinstance(index, slice):
            return PackedRows(self._rows[index])
        return cast("ResultRow", self._rows[index])

    def __iter__(self) -> Iterator[ResultRow]:
        # A packed row has all that a row has; saying so here spares every reader a second type.
        return iter(cast("list[ResultRow]", self._rows))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (PackedRows, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def keeper(rows: int) -> Callable[[ResultRow], ResultRow]:
    """How so many rows are held while they are made: as they are, or packed if they are many."""
    if rows <= MANY:
        return lambda row: row
    return cast("Callable[[ResultRow], ResultRow]", Packer().pack)


def load_rows(path: Path) -> Sequence[ResultRow]:
    """All rows of a file, packed if they are many.

    Raises:
        RunError: as `read_rows`.
    """
    found = _stat(path)
    return PackedRows.read(path) if found is not None and found[0] >= LARGE else tuple(read_rows(path))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


@contextmanager
def _no_collection() -> Iterator[None]:
    """Rows form no circles: while they are read, looking for some only takes time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
