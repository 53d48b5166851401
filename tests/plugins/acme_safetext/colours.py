"""Detector ``colours``: the share of a picture that is red, green or blue, and what its prompt asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from safetext_sdk.detectors import Detector
from safetext_sdk.detectors.pixels import to_rgb
from safetext_sdk.errors import DetectorError
from safetext_sdk.policy import DetectorSpec

COLOURS = ("red", "green", "blue")


class Colours:
    """Scores all three colours; a pixel is of its strongest channel's colour."""

    name, version = "colours", "1.0"

    def __init__(self, labels: Sequence[str], threshold: float) -> None:
        self.labels, self.threshold = list(labels), threshold

    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        rows = []
        for image in images:
            strongest = np.asarray(to_rgb(image)).argmax(axis=-1)
            shares = np.bincount(strongest.ravel(), minlength=3) / strongest.size
            rows.append(dict(zip(COLOURS, shares.tolist(), strict=True)))
        return rows

    def expected(self, prompt: str) -> tuple[str, ...]:
        return tuple(colour for colour in COLOURS if colour in prompt.lower().split())


def build(spec: DetectorSpec, device: str) -> Sequence[Detector]:
    """One detector for the colours that the policy calls unsafe."""
    if unknown := set(spec.labels) - set(COLOURS):
        raise DetectorError(f"colours knows {', '.join(COLOURS)}, not {', '.join(sorted(unknown))}")
    return [Colours(spec.labels, 0.5 if spec.threshold is None else spec.threshold)]
