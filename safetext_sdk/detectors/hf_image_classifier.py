"""Any transformers image classifier, from the hub or a folder.

Sigmoid for multi-label models, softmax for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..device import pick_device
from ..errors import DetectorError
from ..quiet import quiet
from .base import Detector
from .pixels import Pixels, batches
from .weights import check_sha256, local_folder, weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

THRESHOLD = 0.5


class HfImageClassifier:
    """A classifier whose labels the policy names; ``ref`` is how the policy names its ``folder``."""

    def __init__(self, folder: Path, ref: str, spec: DetectorSpec, device: str) -> None:
        self.labels, self.device = list(spec.labels), device
        self.threshold = THRESHOLD if spec.threshold is None else spec.threshold
        self.model, self.pixels, digest = _load(str(folder), device)
        check_sha256(digest, spec.options.get("sha256"), f"hf-image-classifier ({ref})")
        config = self.model.config
        self.ids = self.all_labels = [str(config.id2label[i]) for i in range(config.num_labels)]
        unknown = [label for label in self.labels if label not in self.ids]
        if unknown or not self.labels:
            raise DetectorError(
                f"{ref} has no label {', '.join(unknown) or '(none given)'}; "
                f"it knows {', '.join(self.ids[:20])}"
            )
        own = config.problem_type == "multi_label_classification"
        multi_label = spec.options.get("multi_label")
        self.sigmoid = own if multi_label is None else bool(multi_label)
        # Told otherwise than by its config it scores otherwise: that is another detector.
        otherwise = "" if self.sigmoid == own else "+sigmoid" if self.sigmoid else "+softmax"
        self.name, self.version = f"hf-image-classifier/{Path(ref).name}", digest[:12] + otherwise

    @torch.no_grad()
    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Scores of all labels of the model."""
        rows: list[dict[str, float]] = []
        for part in batches(images, 32):
            logits = self.model(pixel_values=self.pixels(part).to(self.device)).logits.float()
            scores = torch.sigmoid(logits) if self.sigmoid else torch.softmax(logits, -1)
            rows += [dict(zip(self.ids, values, strict=True)) for values in scores.tolist()]
        return rows

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Empty: nothing says which words mean which label."""
        return ()


@lru_cache(maxsize=4)
def _load(folder: str, device: str) -> tuple[Any, Pixels, str]:
    from transformers import AutoModelForImageClassification

    path = Path(folder)
    digest = weights_sha256(path)
    try:
        with quiet():
            model = (
                AutoModelForImageClassification.from_pretrained(path, use_safetensors=True)
                .float()
                .to(device)
                .eval()
            )
    except Exception as error:
        raise DetectorError(f"no image classifier can be loaded from {path}: {error}") from error
    side = getattr(model.config, "image_size", None) or 224
    return model, Pixels(path, int(side)), digest


def build(spec: DetectorSpec, device: str) -> list[Detector]:
    """One detector. Options: ``model`` (hub id or folder; required), ``revision``, ``sha256``,
    ``multi_label``."""
    ref = spec.options.get("model")
    if not isinstance(ref, str):
        raise DetectorError("hf-image-classifier needs the option model: a hub id or a folder")
    folder = local_folder(ref, spec.options.get("revision"))
    return [HfImageClassifier(folder, ref, spec, str(pick_device(device)))]
