"""Things in pictures with their boxes: any detector of objects of transformers (DETR, YOLOS, RT-DETR ...)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import JsonValue

from ..errors import DetectorError
from ..quiet import quiet
from .pixels import batches, to_rgb
from .weights import weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 8
FLOOR = 0.05
"""Less sure than this is not told."""
Box = tuple[str, float, tuple[float, float, float, float]]
"""Label in lower case, score, (left, top, right, bottom) in pixels."""


@dataclass(frozen=True, eq=False)
class DetectorOfObjects:
    """A loaded model. ``ref``: how the caller named it."""

    ref: str
    sha256: str
    model: Any
    processor: Any
    device: str

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """For the record."""
        return {"name": self.ref, "sha256": self.sha256}

    @property
    def labels(self) -> frozenset[str]:
        """What it can see."""
        return frozenset(str(label).lower() for label in self.model.config.id2label.values())

    @torch.no_grad()
    def boxes(self, images: Sequence[Image]) -> list[list[Box]]:
        """Of each picture, the surest first."""
        out: list[list[Box]] = []
        for part in batches(images, BATCH):
            rgb = [to_rgb(image) for image in part]
            inputs = self.processor(images=rgb, return_tensors="pt").to(self.device)
            sizes = [(image.height, image.width) for image in rgb]
            told = self.processor.post_process_object_detection(
                self.model(**inputs), threshold=FLOOR, target_sizes=sizes
            )
            out += [self._sorted(each) for each in told]
        return out

    def _sorted(self, told: Mapping[str, torch.Tensor]) -> list[Box]:
        found: list[Box] = []
        for label, score, box in zip(told["labels"], told["scores"], told["boxes"], strict=True):
            left, top, right, bottom = (float(side) for side in box)
            name = str(self.model.config.id2label[int(label)]).lower()
            found.append((name, float(score), (left, top, right, bottom)))
        return sorted(found, key=lambda each: -each[1])


@lru_cache(maxsize=2)
def load_finder(ref: str, folder: Path, device: str) -> DetectorOfObjects:
    """From a folder.

    Raises:
        DetectorError: it holds no detector of objects, or lacks weights.
    """
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    digest = weights_sha256(folder)
    try:
        with quiet():
            model, found = AutoModelForObjectDetection.from_pretrained(
                folder, use_safetensors=True, output_loading_info=True
            )
            processor = AutoImageProcessor.from_pretrained(folder)
    except Exception as error:
        raise DetectorError(f"no detector of objects can be loaded from {folder}: {error}") from error
    if missing := sorted(found["missing_keys"]):
        raise DetectorError(f"the model in {folder} lacks {len(missing)} of its weights ({missing[0]} ...)")
    return DetectorOfObjects(ref, digest, model.float().to(device).eval(), processor, device)
