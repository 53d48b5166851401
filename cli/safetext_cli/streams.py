"""Standard output and error of a command whose reader may leave before it ends (``safetext ... | head``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Outlived:
    """A stream that goes on without its reader: what is written then is lost, and nobody hears of it.

    A command that ended there would end with another exit code than its own: typer's for a closed pipe is 1,
    which here says that a gate failed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        """Send what is left to nowhere, that of the interpreter's own last flush included."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def outliving_readers() -> Iterator[None]:
    """Until the block ends, a reader of standard output or error who leaves changes nothing."""
    out, err = sys.stdout, sys.stderr
    wrapped = _Outlived(out), _Outlived(err)
    sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        for stream in wrapped:
            stream.flush()
        sys.stdout, sys.stderr = out, err
