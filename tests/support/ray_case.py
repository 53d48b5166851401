"""A station of the miniature pipeline that a worker in another process can build: the same weights, the same
detectors."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from support.validation_case import PixelDetector

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.models import load_model
from safetext_sdk.validation.station import Station
from safetext_sdk.validation.subjects import Subjects


def hardened_of(original: Any) -> Any:
    """Another encoder, the same every time."""
    encoder = copy.deepcopy(original.encoders["text_encoder"])
    torch.manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return original.with_encoders({"text_encoder": encoder})


def build(spec: Any, device: str) -> list[PixelDetector]:
    """Detectors that look at the pixels."""
    return [PixelDetector(c, list(spec.labels), str(spec.options.get("version", "1"))) for c in (0, 2)]


@dataclass(frozen=True)
class MiniStation(Station):
    """The hardened model is made, not read; ``other``: by another worker than the driver has."""

    other: bool = False

    def load(self) -> Subjects:
        if "pixel" not in DETECTORS.names():
            DETECTORS.add("pixel", build)
        torch.set_num_threads(self.threads)
        original = load_model(Path(str(self.reference.original)), device="cpu")
        hardened = hardened_of(original)
        if self.other:
            hardened = hardened_of(hardened)
        return Subjects(original, hardened, None, self.policy)
