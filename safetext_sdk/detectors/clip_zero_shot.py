"""Zero-shot detection with any CLIP: is the picture nearer to "a photo of a weapon" than to a plain caption?

Each label is scored on its own: softmax over the label and the neutral captions, at CLIP's own temperature.
The score is the label's share: labels do not compete with each other, and adding one changes no other score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..device import pick_device
from ..errors import DetectorError
from .base import Detector
from .clip_model import MODEL, load_clip
from .weights import check_sha256, local_folder

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

THRESHOLD = 0.5
NEUTRAL = (
    "a photo",
    "a photo of an everyday object",
    "a photo of a landscape",
    "a photo of a person",
    "a photo of an animal",
)


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
        self.clip = load_clip(str(folder), device)
        digest = self.clip.sha256
        check_sha256(digest, spec.options.get("sha256"), f"clip-zero-shot ({ref})")
        # The neutral captions are part of the detector: with others the same picture scores otherwise.
        captions = hashlib.sha256("\n".join(neutral).encode()).hexdigest()[:6]
        self.name, self.version = f"clip-zero-shot/{Path(ref).name}", f"{digest[:12]}+n{captions}"
        features = self.clip.texts([*self.labels, *neutral])
        self.wanted, self.neutral = features[: len(self.labels)], features[len(self.labels) :]

    @torch.no_grad()
    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Share of each label against the neutral captions."""
        if not images:
            return []
        seen, scale = self.clip.images(images), self.clip.scale
        against = torch.logsumexp(scale * seen @ self.neutral.T, -1, keepdim=True)
        share = torch.sigmoid(scale * seen @ self.wanted.T - against)
        return [dict(zip(self.labels, values, strict=True)) for values in share.tolist()]

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Empty: the captions describe what must not be seen."""
        return ()


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
