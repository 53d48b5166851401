"""Pictures of any mode to the pixels that a classifier was trained on, without torchvision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PILImage

from ..errors import DetectorError

if TYPE_CHECKING:
    from PIL.Image import Image

_RESAMPLE = {
    0: PILImage.Resampling.NEAREST,
    1: PILImage.Resampling.LANCZOS,
    2: PILImage.Resampling.BILINEAR,
    3: PILImage.Resampling.BICUBIC,
}
_DIRECT = ("RGB", "L", "1", "CMYK", "YCbCr", "HSV")
"""Modes that Pillow converts to RGB without loss of what a viewer sees."""


def to_rgb(image: Image) -> Image:
    """The picture in 8-bit RGB, as a viewer shows it.

    * Deep greyscale ("I;16", "I", "F") is brought to 8 bits; Pillow's own conversion loses it.
    * Transparency is laid over white, as viewers do: without it, what only alpha draws is not there.

    Raises:
        DetectorError: a mode, or values, of which nobody can say what they look like.
    """
    if image.mode == "RGB":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return PILImage.fromarray(_eight_bits(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode == "La":  # Pillow knows no direct way out of premultiplied grey
            image = image.convert("LA")
        image = image.convert("RGBA")
        return PILImage.alpha_composite(PILImage.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode in (*_DIRECT, "P"):
        return image.convert("RGB")
    raise DetectorError(f"a picture of mode {image.mode!r} cannot be shown to a detector; convert it to RGB")


def _eight_bits(image: Image) -> np.ndarray:
    """Deep greyscale as uint8 [h, w].

    "I;16" has 16 bits by definition. "I" and "F" do not say their range: the smallest usual one that holds
    all values is taken, since a picture read as darker than it is hides what it shows.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise DetectorError(f"a picture of mode {image.mode!r} has values outside 0 to 65535")
    if image.mode.startswith("I;16") or values.max() > 255:
        values = values / 257.0
    elif image.mode == "F" and values.max() <= 1:
        values = values * 255.0
    return np.rint(values).astype(np.uint8)


class Pixels:
    """Pictures to a float tensor [b, 3, h, w], by a model folder's preprocessor_config.json.

    Args:
        folder: where the file is looked for; without it pixels are scaled to [-1, 1].
        default_size: side in pixels where the file does not say it.
    """

    def __init__(self, folder: Path, default_size: int) -> None:
        path = folder / "preprocessor_config.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        size = config.get("size", default_size)
        crop = config.get("crop_size") if config.get("do_center_crop") else None
        self.shortest = size.get("shortest_edge") if isinstance(size, dict) else None
        self.size = self._pair(crop or (size if not self.shortest else self.shortest))
        self.mean = np.asarray(config.get("image_mean", [0.5] * 3), np.float32)
        self.std = np.asarray(config.get("image_std", [0.5] * 3), np.float32)
        self.resample = _RESAMPLE.get(int(config.get("resample", 2)), PILImage.Resampling.BILINEAR)

    @staticmethod
    def _pair(size: Any) -> tuple[int, int]:
        if isinstance(size, dict):
            edge = size.get("shortest_edge") or 0
            return (int(size.get("height") or edge), int(size.get("width") or edge))
        return (int(size), int(size))

    def __call__(self, images: Sequence[Image]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._one(image) for image in images]))

    def _one(self, image: Image) -> np.ndarray:
        image = to_rgb(image)
        height, width = self.size
        if self.shortest:  # resize the shorter side, then cut the middle, as CLIP does
            scale = self.shortest / min(image.size)
            image = image.resize(
                (max(width, round(image.width * scale)), max(height, round(image.height * scale))),
                self.resample,
            )
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        elif image.size != (width, height):
            image = image.resize((width, height), self.resample)
        values = (np.asarray(image, np.float32) / 255.0 - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def batches(images: Sequence[Image], size: int) -> list[Sequence[Image]]:
    """The pictures in groups of at most ``size``."""
    return [images[i : i + size] for i in range(0, len(images), size)]
