"""How much two pictures differ, without learned weights: mean absolute difference and structural
similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from PIL.Image import Image


def _grey(image: Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float64) / 255.0


def mean_absolute_difference(a: Image, b: Image) -> float:
    """Mean absolute RGB difference in [0, 1]; 0 for equal pictures.

    Raises:
        ValueError: the sizes differ.
    """
    x, y = (np.asarray(i.convert("RGB"), np.float64) / 255.0 for i in (a, b))
    if x.shape != y.shape:
        raise ValueError(f"pictures of {a.size} and {b.size} cannot be compared")
    return float(np.abs(x - y).mean())


def ssim(a: Image, b: Image, window: int = 7) -> float:
    """Structural similarity on luma (Wang et al. 2004; uniform 7x7 window, sample covariance), 1 for equal
    pictures.

    Raises:
        ValueError: the sizes differ or a side is shorter than the window.
    """
    x, y = _grey(a), _grey(b)
    if x.shape != y.shape or min(x.shape) < window:
        raise ValueError(f"pictures of {a.size} and {b.size} cannot be compared with a window of {window}")
    c1, c2, unbiased = 0.01**2, 0.03**2, window**2 / (window**2 - 1)
    mx, my = uniform_filter(x, window), uniform_filter(y, window)
    vx = unbiased * (uniform_filter(x * x, window) - mx * mx)
    vy = unbiased * (uniform_filter(y * y, window) - my * my)
    cov = unbiased * (uniform_filter(x * y, window) - mx * my)
    field = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    pad = (window - 1) // 2  # windows that hang over the edge are left out
    return float(field[pad:-pad, pad:-pad].mean())


def change(a: Image, b: Image) -> dict[str, float]:
    """Both figures for a pair of pictures made with equal seeds."""
    return {"mean_abs": round(mean_absolute_difference(a, b), 5), "ssim": round(ssim(a, b), 5)}
