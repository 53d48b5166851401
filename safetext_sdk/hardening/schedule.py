"""What happens at step t, as pure functions of the seed and t: a resumed run needs no saved random state.

Prompts are walked through in shuffled rounds, so each is seen equally often.
"""

from __future__ import annotations

import math

import numpy as np

from .settings import TrainConfig


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


def rate_at(step: int, config: TrainConfig) -> float:
    """Factor on the peak step size: linear warm-up, then half a cosine down to ``config.final``."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


def reads_whole(step: int, config: TrainConfig) -> bool:
    """Whether this step reads all positions. The last of each group does, and so does the last step of
    all."""
    return step % config.whole_every == config.whole_every - 1 or step == config.steps - 1
