"""NudeNet's 320n detector, from the installed wheel, in a session of our own.

The wheel's own class hard-codes thresholds, suppresses boxes across classes and reads colours the wrong way
round; so only its weights are used: RGB pixels, suppression within a class, label set and threshold from the
policy. The weights' licence is AGPL-3.0 by their files, hence an optional extra that is never shipped with
this package.
Recall moves with the threshold (61 % at 0.2, 38 % at 0.5 on 10,000 photographs), and so do false alarms (a
photograph of a coffee cup scores 0.30 for BUTTOCKS_EXPOSED): quote the threshold with every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from ..errors import DetectorError, MissingExtraError
from ..files import sha256_file
from ..versions import version_of
from .base import Detector
from .pixels import to_rgb
from .weights import check_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

SHA256 = "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"
"""Of 320n.onnx in nudenet 3.4.2. Other weights are refused unless the policy's option ``sha256`` names
them."""
THRESHOLD, FLOOR, OVERLAP, SIDE = 0.25, 0.05, 0.45, 320
AT_ONCE = 16
"""Pictures of one run: enough for a GPU, 20 MB of pixels. On a CPU they are scored as one by one, bit for
bit, and as fast."""
LABELS = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)


@dataclass(frozen=True)
class Detection:
    """One body part: label, score in [0, 1], box (left, top, right, bottom) in pixels of the picture."""

    label: str
    score: float
    box: tuple[float, float, float, float]


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float = OVERLAP) -> list[int]:
    """Indices kept by non-maximum suppression of boxes [n, 4] (left, top, right, bottom) of ONE class, best
    first."""
    order, kept = list(np.argsort(-scores, kind="stable")), []
    area = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    while order:
        best = int(order.pop(0))
        kept.append(best)
        rest = np.asarray(order, int)
        if not len(rest):
            break
        low, high = np.maximum(boxes[rest, :2], boxes[best, :2]), np.minimum(boxes[rest, 2:], boxes[best, 2:])
        shared = (high - low).clip(0).prod(1)
        union = np.maximum(area[rest] + area[best] - shared, 1e-9)
        order = [int(i) for i in rest[shared / union <= overlap]]
    return kept


class NudeNet:
    """320n.onnx over whole pictures; a label's score is that of its best box."""

    all_labels = LABELS

    def __init__(
        self, path: Path, labels: list[str], threshold: float, device: str, sha256: object = None
    ) -> None:
        digest = sha256_file(path)
        check_sha256(digest, sha256 or SHA256, f"nudenet ({path.name})")
        unknown = [label for label in labels if label not in LABELS]
        if unknown or not labels:
            raise DetectorError(
                f"nudenet has no label {', '.join(unknown) or '(none given)'}; it knows {', '.join(LABELS)}"
            )
        self.name, self.labels, self.threshold = "nudenet", labels, threshold
        self.version = f"{version_of('nudenet') or 'source'}+{digest[:12]}"
        self.session = _session(str(path), device)
        self.input = self.session.get_inputs()[0].name

    def detect(self, image: Image) -> list[Detection]:
        """All body parts of one picture above 0.05, suppression within each class."""
        return self._detected([image])[0]

    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Best score of every label; 0 where none reaches 0.05."""
        rows = []
        for start in range(0, len(images), AT_ONCE):
            for hits in self._detected(images[start : start + AT_ONCE]):
                row = dict.fromkeys(LABELS, 0.0)
                for hit in hits:
                    row[hit.label] = max(row[hit.label], min(1.0, hit.score))
                rows.append(row)
        return rows

    def _detected(self, images: Sequence[Image]) -> list[list[Detection]]:
        """All body parts of each picture, in one run."""
        images = [to_rgb(image) for image in images]
        pixels = np.stack([_pixels(image) for image in images])
        raw = np.asarray(self.session.run(None, {self.input: pixels})[0]).transpose(0, 2, 1)
        if raw.shape[2] != 4 + len(LABELS) or not np.isfinite(raw).all():
            raise DetectorError(
                f"nudenet returned {raw.shape} with non-finite values or other classes; reinstall its weights"
            )
        return [_parts(own, image.width, image.height) for own, image in zip(raw, images, strict=True)]

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Empty: body parts do not follow from a prompt's words."""
        return ()


def _pixels(image: Image) -> np.ndarray:
    """An RGB picture as the network takes it, [3, SIDE, SIDE] in 0 to 1."""
    side = max(image.size)
    square = PILImage.new("RGB", (side, side))  # padded right and below, as in training
    square.paste(image)
    # Four neighbours, no smoothing: what the weights were trained with (the astronaut's face scores 0.81;
    # smoothed 0.83).
    small = square.transform(
        (SIDE, SIDE), PILImage.Transform.EXTENT, (0, 0, side, side), PILImage.Resampling.BILINEAR
    )
    return (np.asarray(small, np.float32) / 255.0).transpose(2, 0, 1)


def _parts(raw: np.ndarray, width: int, height: int) -> list[Detection]:
    """Detections of one picture from the network's rows [n, 4 + labels], best first."""
    centre, extent = raw[:, :2], raw[:, 2:4]
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1) * (max(width, height) / SIDE)
    found = []
    for index, label in enumerate(LABELS):
        scores = raw[:, 4 + index]
        rows = np.flatnonzero(scores >= FLOOR)
        for i in rows[suppress(boxes[rows], scores[rows])] if len(rows) else []:
            left, top, right, bottom = (float(v) for v in boxes[i])
            box = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
            found.append(Detection(label, float(scores[i]), box))
    return sorted(found, key=lambda d: -d.score)


@lru_cache(maxsize=2)
def _session(path: str, device: str) -> Any:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") or device == "auto" else []
    providers = [p for p in wanted if p in available] + ["CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=providers)


def weights_path() -> Path:
    """320n.onnx of the installed wheel, found without importing it (its import pulls OpenCV).

    Raises:
        MissingExtraError: nudenet or onnxruntime is not installed.
    """
    spec = find_spec("nudenet")
    if spec is None or not spec.submodule_search_locations or find_spec("onnxruntime") is None:
        raise MissingExtraError("the nudenet detector", "nudenet")
    path = Path(next(iter(spec.submodule_search_locations))) / "320n.onnx"
    if not path.is_file():
        raise DetectorError(
            f"the installed nudenet has no weights at {path}; run: pip install --force-reinstall "
            "nudenet==3.4.2"
        )
    return path


def build(spec: DetectorSpec, device: str) -> list[Detector]:
    """One detector. Options: ``sha256`` of other weights, ``path`` of another 320n.onnx."""
    path = Path(str(spec.options["path"])) if "path" in spec.options else weights_path()
    if find_spec("onnxruntime") is None:
        raise MissingExtraError("the nudenet detector", "nudenet")
    if not path.is_file():
        raise DetectorError(f"nudenet weights {path} do not exist")
    threshold = THRESHOLD if spec.threshold is None else spec.threshold
    return [NudeNet(path, list(spec.labels), threshold, device, spec.options.get("sha256"))]
