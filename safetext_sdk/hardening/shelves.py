"""Where outputs of the original are kept that many steps read: in the device's memory or in the host's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..device import on_device
from ..models.families import Pieces

Cut = Callable[[str, Tensor], Tensor]
"""A piece's name and its rows -> the same at the positions that a step reads."""


@dataclass
class Shelf:
    """Pieces on some rows of a table.

    Attributes:
        place: where they lie.
        slot: [rows of the table], where each row's pieces are in ``pieces``; -1 = not here.
        kept_as: their type; None = as they come.
        staged: whether they lie beside the device, so that what a step reads is gathered first and then
            copied.
        pieces: by name, [kept rows, ...].
    """

    place: torch.device
    slot: np.ndarray
    kept_as: torch.dtype | None = None
    staged: bool = False
    pieces: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def pair(device: torch.device, rows: int, kept_as: torch.dtype | None) -> list[Shelf]:
        """A shelf on the device and one in the host's memory, for a table of so many rows."""
        places = ((device, False), (torch.device("cpu"), True))
        return [Shelf(place, np.full(rows, -1, dtype=np.int64), kept_as, s) for place, s in places]

    @property
    def held_bytes(self) -> int:
        """What they take."""
        return sum(t.numel() * t.element_size() for t in self.pieces.values())

    def bytes_of(self, pieces: Pieces) -> int:
        """What ``pieces`` would take here."""
        return sum(t.numel() * (self.kept_as or t.dtype).itemsize for t in pieces.values())

    def add(self, rows: np.ndarray, parts: Iterator[Pieces]) -> None:
        """Take in the pieces of ``rows``, which come one part after the other, so that those that are still
        on their way never lie on the device all at once."""
        before = len(next(iter(self.pieces.values()))) if self.pieces else 0
        grown: dict[str, Tensor] = {}
        end = before
        for part in parts:
            start, end = end, end + len(next(iter(part.values())))
            for name, piece in part.items():
                if name not in grown:
                    kind = self.kept_as or piece.dtype
                    shape = (before + len(rows), *piece.shape[1:])
                    grown[name] = torch.empty(shape, dtype=kind, device=self.place)
                    if before:
                        grown[name][:before] = self.pieces.pop(name)
                grown[name][start:end] = piece
        self.pieces = grown
        self.slot[rows] = before + np.arange(len(rows))

    def read(self, rows: np.ndarray, cut: Cut, names: Sequence[str], device: torch.device) -> Pieces:
        """Pieces of ``rows``, all of which are here, on ``device`` in fp32. Nobody waits for the copy."""
        index = torch.from_numpy(self.slot[rows])
        return {name: self._gathered(cut(name, self.pieces[name]), index, device).float() for name in names}

    def _gathered(self, held: Tensor, index: Tensor, device: torch.device) -> Tensor:
        if not self.staged:
            return held[on_device(index, held.device)]
        # Only what a step reads goes through pinned memory: to pin all that is kept would take it away from
        # everything else on the machine.
        staged = torch.empty(
            (len(index), *held.shape[1:]), dtype=held.dtype, pin_memory=device.type == "cuda"
        )
        torch.index_select(held, 0, index, out=staged)
        return staged.to(device, non_blocking=True)


def read_all(
    shelves: Sequence[Shelf], rows: np.ndarray, cut: Cut, names: Sequence[str], device: torch.device
) -> Pieces | None:
    """Pieces of ``rows`` from wherever each is kept, in their order; None if one is nowhere."""
    here = [shelf.slot[rows] >= 0 for shelf in shelves]
    if not here or not np.logical_or.reduce(here).all():
        return None
    for shelf, held in zip(shelves, here, strict=True):
        if held.all():
            return shelf.read(rows, cut, names, device)
    found, order = [], []
    for shelf, held in zip(shelves, here, strict=True):
        if held.any():
            found.append(shelf.read(rows[held], cut, names, device))
            order.append(np.flatnonzero(held))
    back = on_device(torch.from_numpy(np.argsort(np.concatenate(order))), device)
    return {name: torch.cat([part[name] for part in found])[back] for name in names}
