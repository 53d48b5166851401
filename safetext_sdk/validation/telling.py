"""Who is told about the progress of a validation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .session import Step


@contextlib.contextmanager
def told(progress: bool | Step) -> Iterator[Step]:
    """Someone to tell about progress: the caller's function, a bar on stderr, or nobody."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    # The spinner and the time move while a batch is drawn; a description is cut before a line breaks.
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(max_width=24, no_wrap=True)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        preparing = bar.add_task("preparing", total=None)
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            bar.update(preparing, visible=False)
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield step
