"""Rows of one report, written by one process or by several: each appends to a file of its own, the first
takes them together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import RunError
from ..processes import Team
from ..results.evidence_file import changed_pictures, read_evidence
from ..results.report import RESULTS, UNFINISHED, rows_sha256
from ..results.rows import ResultRow, RowFile, iter_rows, read_rows


def usable_again(folder: Path) -> Path | None:
    """The rows of the report that lies there, if they are as its evidence says: a row that somebody edited is
    scored again. Pictures that are not as recorded are removed, and so made again."""
    try:
        evidence, path = read_evidence(folder), folder / RESULTS
        if evidence is None:
            return None
        for name in changed_pictures(folder, evidence.measured.pictures):
            (folder / name).unlink()
        if rows_sha256(iter_rows(path, partial=True)) == evidence.measured.results_sha256:
            return path
    except RunError:  # damaged evidence, or rows that cannot be read
        return None
    return None


class SharedRows:
    """The rows of a report that is being made, held in memory as ``keep`` holds a row. The file of the first
    process is `UNFINISHED`; those of others lie beside it, a killed run's as well, and are taken over at the
    next start, however many processes that has.

    Args:
        keep: how a row is held in memory (`RowFile`).

    Attributes:
        file: where this process adds rows.
        known: rows by key: usable ones of an earlier report, those of this process, and since the last
            `gather` those of all.
    """

    def __init__(
        self, folder: Path, team: Team, keep: Callable[[ResultRow], ResultRow] = lambda row: row
    ) -> None:
        self.folder, self.team, self._keep = folder, team, keep
        earlier: Path | None = None
        if team.index == 0:
            earlier = usable_again(folder)
            self.file = RowFile(folder / UNFINISHED, earlier, keep)
            self._take_over()
        earlier = team.told(earlier)
        if team.index:
            self.file = RowFile(_own(folder, team.index), earlier, keep)
            self._read(folder / UNFINISHED)
        team.wait()

    @property
    def known(self) -> dict[str, ResultRow]:
        """Rows by key."""
        return self.file.rows

    def gather(self) -> None:
        """Wait for everyone, and read what the others have added."""
        self.team.wait()
        for path in (self.folder / UNFINISHED, *_others(self.folder)):
            if path != self.file.path:
                self._read(path)
        self.team.wait()

    def close(self) -> None:
        """The first process takes over the rows of all; their files are gone."""
        self.team.wait()
        if self.team.index == 0:
            self._take_over()
        self.team.wait()

    def _take_over(self) -> None:
        for path in _others(self.folder):
            self.file.add(read_rows(path, partial=True))
            path.unlink()

    def _read(self, path: Path) -> None:
        self.file.rows.update({row.key: self._keep(row) for row in read_rows(path, partial=True)})


def _own(folder: Path, index: int) -> Path:
    return folder / UNFINISHED.replace(".jsonl", f".{index}.jsonl")


def _others(folder: Path) -> list[Path]:
    return sorted(folder.glob(UNFINISHED.replace(".jsonl", ".*.jsonl")))
