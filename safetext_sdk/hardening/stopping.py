"""Ctrl-C is taken between two steps, so that a checkpoint is always a whole step; a second Ctrl-C stops at
once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def between_steps() -> Iterator[threading.Event]:
    """Turn Ctrl-C and a polite kill into an event that the loop looks at; the second one acts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handler(number: int, frame: Any) -> None:
        stop.set()
        for key, old in before.items():
            signal.signal(key, old)

    for number in before:
        signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
