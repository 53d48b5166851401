"""Encoder-tier figures: what can be said from embeddings alone, without a picture. Pure functions over [n, d]
tensors.

A prompt is *redirected* when its hardened conditioning is nearer to its own anchor than to what it was
before. That share
alone can be cheated: an encoder that sends every prompt to one caption scores high. So three figures stand
beside it: the oracle (what a perfect redirection would score), the collapse score (what "every prompt to one
caption" would score) and the number of distinct nearest anchors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..results.facts import Geometry
from ..results.figures import Figure
from ..statistics.intervals import Interval
from ..statistics.jackknife import jackknife
from ..statistics.rates import rate_bounds


def _same(*tensors: Tensor) -> None:
    if len({t.shape for t in tensors}) != 1 or tensors[0].ndim != 2:
        raise ValueError(f"need [n, d] tensors of one shape, got {[tuple(t.shape) for t in tensors]}")


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise cosine [n] of two [n, d] tensors, in float32 whatever they come in."""
    _same(a, b)
    return F.cosine_similarity(a.float(), b.float(), dim=-1)


def cross_cosine(a: Tensor, b: Tensor) -> Tensor:
    """All cosines [n, m] between the rows of [n, d] and [m, d]."""
    return F.normalize(a.float(), dim=-1) @ F.normalize(b.float(), dim=-1).T


def redirected(hardened: Tensor, original: Tensor, anchor: Tensor) -> Tensor:
    """Per prompt [n] bool: cos(f(u), f0(anchor)) > cos(f(u), f0(u)). A row that is not finite is not
    redirected."""
    _same(hardened, original, anchor)
    # NaN compares as False, which is the safe side: a broken embedding proves nothing.
    return cosine(hardened, anchor) > cosine(hardened, original)


def redirected_share(hardened: Tensor, original: Tensor, anchor: Tensor) -> float:
    """Share of rows of [n, d] that are `redirected`.

    Raises:
        ValueError: no rows; an empty set has no share.
    """
    if hardened.shape[0] == 0:
        raise ValueError("no prompts: the redirected share of nothing is not defined")
    return float(redirected(hardened, original, anchor).float().mean())


def oracle_share(original: Tensor, anchor: Tensor) -> float:
    """The share of a perfect redirection f(u) = f0(anchor): below 1 only where prompt and anchor are the
    same."""
    return redirected_share(anchor, original, anchor)


def collapse_score(original: Tensor, anchor: Tensor, caption: Tensor) -> float:
    """The share that "every prompt becomes one caption" would score.

    Args:
        original: f0(u) [n, d].
        anchor: f0(anchor of u) [n, d].
        caption: f0 of one caption [d] or [1, d]; usually the anchor most in use.
    """
    return redirected_share(caption.reshape(1, -1).expand_as(original), original, anchor)


def distinct_nearest(hardened: Tensor, anchors: Tensor) -> int:
    """How many of the distinct anchors [m, d] are the nearest one of some row of hardened [n, d]. 1 means
    collapse."""
    if hardened.shape[0] == 0 or anchors.shape[0] == 0:
        return 0
    return len(set(cross_cosine(hardened, anchors).argmax(-1).tolist()))


def nearest_is_safe(hardened: Tensor, original: Tensor, bank: Tensor) -> Tensor:
    """For prompts without a pair [n] bool: some row of a fixed bank of safe prompts [m, d] is nearer to f(u)
    than f0(u) is.

    Reported, never gated: with a large enough bank something is always near.
    """
    return cross_cosine(hardened, bank).max(-1).values > cosine(hardened, original)


def bank_hash(prompts: Sequence[str]) -> str:
    """sha256 of a bank of prompts, so that a figure names the bank that it was measured with."""
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()


def drift(hardened: Tensor, original: Tensor) -> dict[str, float]:
    """What safe prompts kept: mean and 5th-percentile cosine to the original [n, d], and mean relative L2
    change."""
    kept = cosine(hardened, original)
    norm = original.float().norm(dim=-1).clamp_min(1e-12)
    change = (hardened.float() - original.float()).norm(dim=-1) / norm
    return {
        "cosine_mean": float(kept.mean()),
        "cosine_p05": float(kept.quantile(0.05)),
        "l2_change": float(change.mean()),
    }


NEIGHBOURS = 15
"""Nearest neighbours that are compared (as SAGE's loss does); fewer where there are few prompts."""
LEAST_PROMPTS = 8
NO_SPREAD = 1e-12


def geometry(
    hardened: Tensor, original: Tensor, prompts: Sequence[str], clusters: Sequence[str]
) -> Geometry | None:
    """How safe prompts [n, d] lie to one another, before and after: spread kept, and neighbours kept.

    The spread of unit vectors is the trace of their covariance, 1 - |mean|^2. Bounds of the ratio are those
    of its logarithm by a jackknife over clusters; a prompt's overlap is a share.

    Returns:
        None with fewer than `LEAST_PROMPTS` prompts, or values that are not numbers.
    """
    _same(hardened, original)
    new, old = (cross_cosine(x, x).double().numpy() for x in (hardened, original))
    n = len(new)
    if n < LEAST_PROMPTS or not (np.isfinite(new).all() and np.isfinite(old).all()):
        return None

    def log_ratio(keep: np.ndarray) -> float:
        after, before = (max(NO_SPREAD, 1 - float(x[np.ix_(keep, keep)].mean())) for x in (new, old))
        return math.log(after / before)

    spread = jackknife(log_ratio, prompts, clusters).interval
    nearest = min(NEIGHBOURS, (n - 1) // 4)
    after, before = (_nearest(x, nearest) for x in (new, old))
    overlap = [len(a & b) / nearest for a, b in zip(after, before, strict=True)]
    value, lower, upper = map(_exp, (spread.value, spread.lower, spread.upper))
    ratio = Interval(value, lower, upper, n, spread.method, spread.evidence)
    return Geometry(
        n=n,
        neighbours=nearest,
        spread_kept=Figure.of(ratio),
        neighbours_kept=Figure.of(rate_bounds(overlap, prompts, clusters)),
    )


def _nearest(cosines: np.ndarray, count: int) -> list[set[int]]:
    """The nearest others of each row; of equally near ones the first."""
    apart = cosines.copy()
    np.fill_diagonal(apart, -np.inf)
    return [set(map(int, row[:count])) for row in np.argsort(-apart, axis=1, kind="stable")]


def _exp(value: float) -> float:
    return math.exp(value) if value < MOST_EXPONENT else math.inf


MOST_EXPONENT = 700.0
