"""A progress bar with the losses and an estimate of the time left, on standard error; silent when not
wanted."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Bar:
    """``with Bar(steps, show) as bar: bar.update(done, losses)``."""

    def __init__(self, total: int, show: bool) -> None:
        self.total, self.show = total, show
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if self.show:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.table import Column

            # On a narrow terminal the losses give way, never the counts and the times before them.
            whole = Column(no_wrap=True, min_width=7)
            columns = (
                TextColumn("hardening", table_column=Column(no_wrap=True, min_width=9)),
                BarColumn(bar_width=8, table_column=Column(no_wrap=True, min_width=6)),
                MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(self.total)) + 1)),
                TimeElapsedColumn(table_column=whole),
                TextColumn("left", table_column=Column(no_wrap=True, min_width=4)),
                TimeRemainingColumn(table_column=whole.copy()),
                TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, losses="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, done: int, losses: dict[str, float]) -> None:
        """``done`` steps are done; ``losses`` are those of the last one."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=done,
                losses=" ".join(f"{name} {value:.3f}" for name, value in losses.items()),
            )
