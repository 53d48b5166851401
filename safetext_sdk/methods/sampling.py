"""Which rows a step takes, as a pure function of the seed and the step: a resumed run needs no saved random
state.

Rows are walked through in shuffled rounds, so each is seen equally often.
"""

from __future__ import annotations

import numpy as np


def rows_at(step: int, count: int, total: int, seed: int, stream: int) -> np.ndarray:
    """Indices [count] into ``total`` rows for this step. ``stream`` keeps different walks independent."""
    out = np.empty(count, dtype=np.int64)
    start, done = step * count, 0
    while done < count:
        epoch, offset = divmod(start + done, total)
        order = np.random.default_rng([seed, stream, epoch]).permutation(total)
        take = min(count - done, total - offset)
        out[done : done + take] = order[offset : offset + take]
        done += take
    return out
