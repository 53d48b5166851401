"""Made-up weights of LPIPS that are the same everywhere, and two pictures to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from safetext_sdk.metrics.perceptual import CHANNELS, NETS

WIDTHS = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
}
SIDES = {"alex": (11, 5, 3, 3, 3), "vgg": (3,) * 13}


def made_up(folder: Path, net: str) -> tuple[Path, Path]:
    """Backbone and heads of a net, drawn by numpy, in two files as a user has them."""
    rng = np.random.default_rng(0)
    backbone, before = {}, 3
    places = [layer.place for layer in NETS[net] if not layer.pool]
    for place, width, side in zip(places, WIDTHS[net], SIDES[net], strict=True):
        shape = (width, before, side, side)
        backbone[f"features.{place}.weight"] = rng.normal(0, (2 / (before * side * side)) ** 0.5, shape)
        backbone[f"features.{place}.bias"] = rng.normal(0, 0.05, width)
        before = width
    heads = {f"lin{k}.model.1.weight": rng.uniform(0, 0.1, (1, n, 1, 1)) for k, n in enumerate(CHANNELS[net])}
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{net}-backbone.safetensors", folder / f"{net}-heads.safetensors"
    for path, values in zip(files, (backbone, heads), strict=True):
        save_file({k: torch.tensor(v, dtype=torch.float32) for k, v in values.items()}, path)
    return files


def two_pictures(side: int = 64) -> tuple[Image.Image, Image.Image]:
    """A pattern, and the same with grain and a patch."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side]
    base = np.stack([x * 3 % 256, y * 4 % 256, (x + y) * 2 % 256], -1).astype(np.float64)
    other = np.clip(base + rng.normal(0, 25, base.shape), 0, 255)
    other[16:40, 20:50] = (200, 30, 40)
    first, second = (Image.fromarray(part.astype(np.uint8)) for part in (base, other))
    return first, second
