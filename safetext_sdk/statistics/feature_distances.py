"""Distances between two sets of features, float64 all through: Frechet (FID) and kernel (KID).

* **Frechet** (Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", NeurIPS, section 3):
  |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). The trace of the root is the sum of the singular values of
  X1 X2' for centred features X, so neither a matrix root nor an eigenvalue that should have been positive is
  needed, and few pictures with wide features cost little.
* **Kernel** (Binkowski et al. 2018, "Demystifying MMD GANs", ICLR, section 4; polynomial kernel of degree 3):
  the unbiased MMD^2. Where picture k of one set belongs to picture k of the other (same prompt, same seed),
  that pair is left out of the cross term as well (Gretton et al. 2012, JMLR 13, equation 4): equal pictures
  then have distance 0, which the form for independent sets makes negative.
"""

from __future__ import annotations

import numpy as np

from .intervals import FloatArray, SampleError


def frechet_distance(x: FloatArray, y: FloatArray) -> float:
    """FID of features [n, d] and [m, d]; sample covariances, at least two pictures each.

    Raises:
        SampleError: another shape, fewer than two pictures, or a value that is not finite.
    """
    a, b = _checked(x, y)
    mean = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    a, b = (_scaled(side) for side in (a, b))
    traces = float((a**2).sum() + (b**2).sum())
    root = float(np.linalg.svd(_narrow(a) @ _narrow(b).T, compute_uv=False).sum())
    return max(0.0, mean + traces - 2 * root)


def _scaled(x: FloatArray) -> FloatArray:
    """Centred, so that x'x is the sample covariance."""
    centred: FloatArray = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return centred


def _narrow(x: FloatArray) -> FloatArray:
    """The same x'x from no more rows than columns."""
    return x if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(x, mode="r"), np.float64)


def polynomial_kernel(x: FloatArray, y: FloatArray) -> FloatArray:
    """(x.y / d + 1)^3 of every pair of rows, [n, m]."""
    kernel: FloatArray = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel


class KernelDistance:
    """MMD^2 of two sets and of any part of them, from kernels that are computed once.

    Args:
        x, y: features [n, d] and [m, d].
        matched: row k of both belongs together, and n equals m.

    Raises:
        SampleError: another shape, or a value that is not finite.
    """

    def __init__(self, x: FloatArray, y: FloatArray, *, matched: bool) -> None:
        a, b = _checked(x, y)
        if matched and len(a) != len(b):
            raise SampleError(f"{len(a)} and {len(b)} pictures cannot be matched one to one")
        self.matched = matched
        self._xx, self._yy = polynomial_kernel(a, a), polynomial_kernel(b, b)
        self._xy = polynomial_kernel(a, b)

    def of(self, keep_x: np.ndarray, keep_y: np.ndarray) -> float:
        """The distance of these rows alone."""
        n, m = len(keep_x), len(keep_y)
        if min(n, m) < 2:
            raise SampleError("a kernel distance takes at least two pictures a set")
        xx, yy = self._xx[np.ix_(keep_x, keep_x)], self._yy[np.ix_(keep_y, keep_y)]
        xy = self._xy[np.ix_(keep_x, keep_y)]
        within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
        across = (xy.sum() - np.trace(xy)) / (n * (n - 1)) if self.matched else xy.mean()
        return float(within - 2 * across)


def kernel_distance(x: FloatArray, y: FloatArray, *, matched: bool = False) -> float:
    """KID of features [n, d] and [m, d]; see `KernelDistance`."""
    return KernelDistance(x, y, matched=matched).of(np.arange(len(x)), np.arange(len(y)))


def _checked(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise SampleError(f"two sets of at least two features each of one width, not {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise SampleError("features that are not numbers have no distance")
    return a, b
