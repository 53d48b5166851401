"""Losses of the last steps, which stay on the device until somebody reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import RunError


@dataclass
class Losses:
    """Losses of steps that are done and that nobody has read: reading waits for the device, and a step that
    waits leaves the device without work while the next one is being prepared."""

    _unread: list[tuple[int, tuple[str, ...], Tensor]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, step: int, parts: Mapping[str, Tensor]) -> None:
        """The parts of the loss of one step, each a single number."""
        values = torch.stack([value.detach().float().reshape(()) for value in parts.values()])
        self._unread.append((step, tuple(parts), values))

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """Steps and their losses, in order; afterwards none is unread."""
        unread, self._unread = self._unread, []
        if not unread:
            return []
        values = iter(torch.cat([values for _, _, values in unread]).tolist())
        return [(step, {name: next(values) for name in names}) for step, names, _ in unread]


def finite(read: list[tuple[int, dict[str, float]]]) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps of ``read`` (see `Losses.read`) with their losses, up to one that is not finite.

    Raises:
        RunError: at that one.
    """
    for step, parts in read:
        if not all(math.isfinite(value) for value in parts.values()):
            together = f" (read with those of steps {read[0][0]} to {read[-1][0]})" if len(read) > 1 else ""
            raise RunError(f"the loss is not finite at step {step}{together}; a smaller learning_rate helps")
        yield step, parts
