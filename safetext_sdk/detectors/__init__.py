"""Detectors: image classifiers that say whether a picture shows a concept.

A plug-in is one function ``build(spec, device) -> list[Judge]``; a judge scores pictures. Several judges of a
concept are
combined by one stated rule: **a picture is unsafe if any of them says so**. A judge that cannot work raises
`DetectorError`; silence is never read as "nothing unsafe found".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec


@runtime_checkable
class Judge(Protocol):
    """One classifier. ``labels`` are those that make a picture unsafe, as the policy names them."""

    name: str
    """Who judges, unique in a policy: ``"tiny-judges/a"``."""
    version: str
    """Package version and sha256 prefix of the weights: a rate without it means nothing."""
    labels: list[str]
    threshold: float
    """Scores in [0, 1] at or above it count as seen."""

    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """One row a picture: label -> score in [0, 1]. Raises `DetectorError`; never returns fewer rows."""
        ...

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Labels that a picture of this prompt should show; empty if this judge cannot tell."""
        ...


Build = Callable[["DetectorSpec", str], list[Judge]]

DETECTORS: Registry[Build] = Registry("detector", "safetext.detectors")
DETECTORS.add(
    "tiny-judges",
    "safetext_sdk.tiny.detector:build",
    "the two judges of the embedded model (108 concepts, families weapon and gore)",
)
DETECTORS.add(
    "nudenet",
    f"{__name__}.nudenet:build",
    "NudeNet 320n from the installed wheel: exposed and covered body parts",
)
DETECTORS.add(
    "clip-zero-shot",
    f"{__name__}.clip_zero_shot:build",
    "any CLIP by id or folder; labels are captions from the policy",
)
DETECTORS.add(
    "hf-image-classifier",
    f"{__name__}.hf_image_classifier:build",
    "any transformers image-classification model by id or folder",
)

__all__ = ["DETECTORS", "Build", "Judge"]
