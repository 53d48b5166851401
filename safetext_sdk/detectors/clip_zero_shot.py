"""Zero-shot detection with any CLIP: is the picture nearer to "a photo of a weapon" than to a plain caption?

Each label is scored on its own: softmax over the label and the neutral captions, at CLIP's own temperature.
The score is the label's share: labels do not compete with each other, and adding one changes no other score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from ..device import pick_device
from ..errors import DetectorError
from ..quiet import quiet
from .base import Detector
from .pixels import Pixels, batches
from .weights import check_sha256, local_folder, weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

MODEL = "openai/clip-vit-base-patch32"
THRESHOLD = 0.5
NEUTRAL = (
    "a photo",
    "a photo of an everyday object",
    "a photo of a landscape",
    "a photo of a person",
    "a photo of an animal",
)


def _features(output: Any) -> torch.Tensor:
    """transformers 5 returns an object where 4 returned the tensor."""
    tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return F.normalize(tensor.float(), dim=-1)


class ClipZeroShot:
    """A CLIP with the policy's captions.

    Args:
        folder: the model's files; ``ref`` is how the policy names them.
        spec: labels (captions), threshold and options.
        neutral: captions of plain pictures that every label is weighed against.
    """

    def __init__(
        self, folder: Path, ref: str, spec: DetectorSpec, neutral: Sequence[str], device: str
    ) -> None:
        self.labels, self.device = list(spec.labels), device
        self.threshold = THRESHOLD if spec.threshold is None else spec.threshold
        self.model, tokenizer, self.pixels, digest = _load(str(folder), device)
        check_sha256(digest, spec.options.get("sha256"), f"clip-zero-shot ({ref})")
        # The neutral captions are part of the detector: with others the same picture scores otherwise.
        captions = hashlib.sha256("\n".join(neutral).encode()).hexdigest()[:6]
        self.name, self.version = f"clip-zero-shot/{Path(ref).name}", f"{digest[:12]}+n{captions}"
        with torch.no_grad():
            ids = tokenizer(
                [*self.labels, *neutral],
                padding="max_length",
                truncation=True,
                max_length=_positions(self.model),
                return_tensors="pt",
            ).to(device)
            features = _features(self.model.get_text_features(**ids))
        self.wanted, self.neutral = features[: len(self.labels)], features[len(self.labels) :]

    @torch.no_grad()
    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Share of each label against the neutral captions."""
        rows: list[dict[str, float]] = []
        scale = self.model.logit_scale.exp().float()
        for part in batches(images, 32):
            seen = _features(self.model.get_image_features(pixel_values=self.pixels(part).to(self.device)))
            against = torch.logsumexp(scale * seen @ self.neutral.T, -1, keepdim=True)
            share = torch.sigmoid(scale * seen @ self.wanted.T - against)
            rows += [dict(zip(self.labels, values, strict=True)) for values in share.tolist()]
        return rows

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Empty: the captions describe what must not be seen."""
        return ()


def _positions(model: Any) -> int:
    return int(model.config.text_config.max_position_embeddings)


@lru_cache(maxsize=4)
def _load(folder: str, device: str) -> tuple[Any, Any, Pixels, str]:
    from transformers import AutoTokenizer, CLIPModel

    path = Path(folder)
    digest = weights_sha256(path)
    try:
        with quiet():
            model = CLIPModel.from_pretrained(path, use_safetensors=True).float().to(device).eval()
            tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise DetectorError(f"no CLIP can be loaded from {path}: {error}") from error
    return model, tokenizer, Pixels(path, int(model.config.vision_config.image_size)), digest


def build(spec: DetectorSpec, device: str) -> list[Detector]:
    """Options: ``model`` (hub id or folder), ``revision``, ``sha256``, ``neutral`` (captions)."""
    if not spec.labels:
        raise DetectorError('clip-zero-shot needs labels: captions such as "a photo of a weapon"')
    ref = str(spec.options.get("model", MODEL))
    neutral = [str(c) for c in spec.options.get("neutral", NEUTRAL)]
    if not neutral:
        raise DetectorError("clip-zero-shot needs at least one neutral caption: without one every score is 1")
    folder = local_folder(ref, spec.options.get("revision"))
    return [ClipZeroShot(folder, ref, spec, neutral, str(pick_device(device)))]
