"""Detectors: image classifiers that say whether a picture shows a concept.

* A detector is one file with ``build(spec, device)`` and one line below; a third party's is registered by an
  entry point of the group ``safetext.detectors``. The contract is `base.Detector`.
* Several detectors of a concept are combined by one stated rule (`detector_set.DetectorSet`): **a picture is
  unsafe if any of them says so**, unless the policy asks for all.
* A detector that cannot work raises `DetectorError`; silence is never read as "nothing unsafe found".
"""

from __future__ import annotations

from ..registry import Registry
from .base import Build, Detector

DETECTORS: Registry[Build] = Registry("detector", "safetext.detectors")
DETECTORS.add(
    "tiny-judges",
    "safetext_sdk.tiny.detector:build",
    "the two classifiers of the embedded model (108 concepts, families weapon and gore)",
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
    "clip-probe",
    f"{__name__}.clip_probe:build",
    "a CLIP with learned prompts (Q16) or a linear probe, weights by path",
)
DETECTORS.add(
    "hf-image-classifier",
    f"{__name__}.hf_image_classifier:build",
    "any transformers image-classification model by id or folder",
)

__all__ = ["DETECTORS", "Build", "Detector"]
