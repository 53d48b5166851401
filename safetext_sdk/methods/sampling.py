"""Which rows a step takes, as a pure function of the seed and the step: a resumed run needs no saved random
state.

Rows are walked through in shuffled rounds, so each is seen equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_BITS = 10


@dataclass(frozen=True)
class Part:
    """Rows that are drawn together. ``share``: of all draws, between 0 and 1, held to a thousandth."""

    rows: np.ndarray
    share: float


def rows_at(step: int, count: int, total: int, seed: int, stream: int) -> np.ndarray:
    """Indices [count] into ``total`` rows for this step. ``stream`` keeps different walks independent."""
    return _walk(step * count, count, total, seed, stream)


def mixed_at(step: int, count: int, parts: Sequence[Part], seed: int, stream: int) -> np.ndarray:
    """Rows [count] for this step from several parts, each in its share over any stretch of steps.

    Who gives the next row is decided by the van der Corput sequence, which spreads every share evenly; each
    part is walked through by itself, so its rows are seen equally often. ``stream`` as in `rows_at`.
    """
    owner, before, whole = _turns(tuple(part.share for part in parts))
    block, place = np.divmod(np.arange(step * count, (step + 1) * count), len(owner))
    out = np.empty(count, dtype=np.int64)
    for number, part in enumerate(parts):
        mine = np.flatnonzero(owner[place] == number)
        if len(mine):
            first = int(block[mine[0]] * whole[number] + before[number, place[mine[0]]])
            walked = _walk(first, len(mine), len(part.rows), seed, 100 * stream + number)
            out[mine] = part.rows[walked]
    return out


@lru_cache(maxsize=64)
def _turns(shares: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whose turn it is at each place of a block; how many turns each part had before it, [parts, block]; and
    in a whole block, [parts]."""
    places = np.arange(1 << _BITS)
    spread = sum(((places >> bit) & 1) / (2 << bit) for bit in range(_BITS))
    ends = np.cumsum(shares)
    owner = np.searchsorted(ends[:-1] / ends[-1], spread, side="right")
    turns = (owner == np.arange(len(shares))[:, None]).astype(np.int64)
    return owner, np.cumsum(turns, axis=1) - turns, turns.sum(axis=1)


def _walk(start: int, count: int, total: int, seed: int, stream: int) -> np.ndarray:
    """Places ``start`` to ``start + count`` of an endless walk through ``total`` rows in shuffled rounds."""
    out = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        epoch, offset = divmod(start + done, total)
        order = np.random.default_rng([seed, stream, epoch]).permutation(total)
        take = min(count - done, total - offset)
        out[done : done + take] = order[offset : offset + take]
        done += take
    return out
