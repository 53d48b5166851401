"""Several processes on one machine that do one thing together (``accelerate launch``).

All of them run the same code on the same arguments. Each takes its part of the work, the first one alone
writes what is everybody's, and they wait for each other in between.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""One process may search or draw for hours while another has nothing left to do. One that dies takes the
others with it: that is what the launcher is for."""


class Team(Protocol):
    """The processes that share a task.

    Attributes:
        index: of this one, from 0.
        count: of all.
    """

    @property
    def index(self) -> int: ...

    @property
    def count(self) -> int: ...

    def wait(self) -> None:
        """Go on when everyone is here."""

    def told(self, value: T) -> T:
        """What the first process has as ``value``; everyone waits for it."""

    def anyone(self, *flags: bool) -> tuple[bool, ...]:
        """Of each flag, whether it is up with anyone; everyone waits for everyone."""


@dataclass(frozen=True)
class Alone:
    """One process: nobody to wait for."""

    index: int = 0
    count: int = 1

    def wait(self) -> None:
        """Nothing to wait for."""

    def told(self, value: T) -> T:
        """Its own."""
        return value

    def anyone(self, *flags: bool) -> tuple[bool, ...]:
        """Its own."""
        return flags


@dataclass(frozen=True)
class Launched:
    """One of several processes that a launcher has started."""

    index: int
    count: int
    group: Any
    """A group of torch.distributed on the CPU: it waits without a GPU, and as long as `PATIENCE`."""

    def wait(self) -> None:
        """Go on when everyone is here."""
        import torch.distributed

        torch.distributed.barrier(group=self.group)

    def told(self, value: T) -> T:
        """What the first process has."""
        import torch.distributed

        held = [value]
        torch.distributed.broadcast_object_list(held, src=0, group=self.group)
        return held[0]

    def anyone(self, *flags: bool) -> tuple[bool, ...]:
        """Of each flag, whether it is up with anyone."""
        import torch.distributed

        held = torch.tensor(flags, dtype=torch.int32)
        torch.distributed.all_reduce(held, op=torch.distributed.ReduceOp.MAX, group=self.group)
        return tuple(bool(flag) for flag in held.tolist())


def launched() -> bool:
    """Whether a launcher started this process as one of several; imports nothing."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def first() -> bool:
    """Whether this is the only process or the first of several; imports nothing."""
    return not launched() or int(os.environ.get("RANK", "0")) == 0


def process_device(device: str) -> str:
    """``device``, or this process's own GPU where ``accelerate launch`` started one process for each."""
    if not launched():
        return device
    from accelerate.state import PartialState

    from .device import pick_device

    return str(PartialState(cpu=pick_device(device).type == "cpu").device)


def team(device: str = "auto") -> Team:
    """The processes that a launcher started, or this one alone.

    Args:
        device: as `process_device` takes it.
    """
    if not launched():
        return Alone()
    process_device(device)  # starts torch.distributed
    return _team()


@cache
def _team() -> Team:
    import torch.distributed
    from accelerate.state import PartialState

    state = PartialState()
    group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    return Launched(state.process_index, state.num_processes, group)


def share(team: Team, work: Sequence[T], size: int = 1) -> list[T]:
    """This process's part of a list: every ``count``-th run of ``size`` entries, in order."""
    return [
        each
        for number, start in enumerate(range(0, len(work), size))
        if number % team.count == team.index
        for each in work[start : start + size]
    ]
