"""Processes of a team as threads of this one: for tests of what a team does, not of how it is launched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Shared:
    """What the members of a team have in common."""

    count: int
    barrier: threading.Barrier = field(init=False)
    held: list[Any] = field(default_factory=lambda: [None])

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count)


@dataclass(frozen=True)
class Member:
    """One of them."""

    index: int
    shared: Shared

    @property
    def count(self) -> int:
        return self.shared.count

    def wait(self) -> None:
        self.shared.barrier.wait(timeout=120)

    def told(self, value: T) -> T:
        if self.index == 0:
            self.shared.held[0] = value
        self.wait()
        found: T = self.shared.held[0]
        self.wait()
        return found

    def anyone(self, *flags: bool) -> tuple[bool, ...]:
        raise NotImplementedError("no test asks for it")


def together(count: int, work: Callable[[Member], T]) -> list[T]:
    """What each member of a team makes of ``work``.

    Raises:
        what the first member that failed raised.
    """
    shared = Shared(count)
    out: list[Any] = [None] * count
    failed: list[BaseException] = []

    def one(index: int) -> None:
        try:
            out[index] = work(Member(index, shared))
        except threading.BrokenBarrierError:
            pass  # somebody else failed
        except BaseException as error:
            failed.append(error)
            shared.barrier.abort()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return out
