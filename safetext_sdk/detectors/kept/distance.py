"""How far two pictures are apart, in [0, 1], without learned weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from ...errors import DetectorError

if TYPE_CHECKING:
    from PIL.Image import Image

WINDOW = 7
VIEWED = 256
"""Sides of twice this and more are halved first, as the authors of SSIM do: a picture is looked at whole."""
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, finest first (Wang, Simoncelli, Bovik 2003, section 3.2)."""


def ms_ssim_distance(a: Image, b: Image) -> float:
    """1 - multi-scale structural similarity (Wang, Simoncelli, Bovik, "Multi-scale structural similarity for
    image quality assessment", Asilomar 2003), mean over the colour channels: 0 for equal pictures, 1 for
    pictures that share no structure.

    Multi-scale, because a picture whose layout stayed and whose texture changed is near to what it was; on
    colour channels and not on luma, because what a prompt names may be a colour. Uniform 7 x 7 windows; a
    picture too small for five scales has the first ones, their weights brought to a sum of 1. Scales with a
    negative correlation count as 0.

    Raises:
        DetectorError: the sizes differ or a side is shorter than a window.
    """
    if a == b:
        return 0.0
    x, y = (np.asarray(i.convert("RGB"), np.float64) / 255.0 for i in (a, b))
    side = min(x.shape[:2])
    if x.shape != y.shape or side < WINDOW:
        raise DetectorError(
            f"pictures of {a.size} and {b.size} cannot be compared; a side has {WINDOW} pixels"
        )
    while side >= 2 * VIEWED:
        x, y, side = _half(x), _half(y), side // 2
    scales = min(len(WEIGHTS), 1 + int(np.log2(side / WINDOW)))
    weights = np.asarray(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    similarity = np.ones(x.shape[2])
    for k, weight in enumerate(weights):
        whole, contrast = _terms(x, y)
        similarity *= np.clip(whole if k == scales - 1 else contrast, 0.0, 1.0) ** weight
        x, y = _half(x), _half(y)
    return float(1.0 - similarity.mean())


def _terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean SSIM, and its contrast-structure part alone, of each channel of [h, w, c]."""
    c1, c2, unbiased = 0.01**2, 0.03**2, WINDOW**2 / (WINDOW**2 - 1)
    size = (WINDOW, WINDOW, 1)
    mx, my = uniform_filter(x, size), uniform_filter(y, size)
    vx = unbiased * (uniform_filter(x * x, size) - mx * mx)
    vy = unbiased * (uniform_filter(y * y, size) - my * my)
    cov = unbiased * (uniform_filter(x * y, size) - mx * my)
    contrast = (2 * cov + c2) / (vx + vy + c2)
    light = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    pad = WINDOW // 2  # windows that hang over the edge are left out
    inner = np.s_[pad:-pad, pad:-pad]
    return (light * contrast)[inner].mean((0, 1)), contrast[inner].mean((0, 1))


def _half(x: np.ndarray) -> np.ndarray:
    """Half of the size: means of 2 x 2 pixels; an odd last row or column is left out."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    halved: np.ndarray = x[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).mean((1, 3))
    return halved
