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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield step
