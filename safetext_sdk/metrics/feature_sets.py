"""What FID and KID share: an extractor by path, and features of two sets of pictures.

The reference is the original's pictures of the same prompts and seeds, or a folder of pictures
(``reference``), which then stands beside the undefended model's own distance to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from pydantic import JsonValue

from ..errors import NotMeasuredError
from ..files import sha256_file
from ..results.rows import ResultRow
from ..statistics.intervals import FloatArray
from .pictures import AT_ONCE, Extractor, PictureMeasure, Pictures, Tools, WeightsConfig, asked_for

SET = "safe"
HOW = (
    "name an extractor: a TorchScript file (NVIDIA's inception-2015-12-05.pt is the usual one of FID) or a "
    "folder of a vision model of transformers (CLIP, DINOv2, ResNet ...): --set {name}.extractor=PATH"
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class FeatureConfig(WeightsConfig):
    """``extractor``: path, or hub id of a folder. ``reference``: folder of pictures to compare with instead
    of the original's."""

    extractor: str | None = None
    reference: str | None = None


@dataclass(frozen=True, eq=False)
class Compared:
    """Features of the reference, of the undefended and of the hardened model, with the hardened rows.

    ``matched``: row k of reference and hardened are the same prompt and seed; ``original`` is then the
    reference itself.
    """

    reference: FloatArray
    original: FloatArray
    hardened: FloatArray
    rows: Sequence[ResultRow]
    matched: bool


class FeatureMeasure(PictureMeasure[FeatureConfig]):
    """Loads the extractor and embeds both sets."""

    Config = FeatureConfig
    name = ""

    def __init__(self, config: FeatureConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        how = HOW.format(name=self.name)
        ref = asked_for(config.extractor, f"is no feature extractor of {self.name}", how)
        self.extractor: Extractor = tools.extractor(ref, config)
        self.files = _pictures_in(config.reference) if config.reference is not None else []

    @property
    def settings(self) -> dict[str, JsonValue]:
        found = {**super().settings, "loaded": dict(self.extractor.described)}
        if self.files:
            digest = hashlib.sha256("".join(sha256_file(path) for path in self.files).encode()).hexdigest()
            found |= {"reference_pictures": len(self.files), "reference_sha256": digest}
        return found

    def compared(self, pictures: Pictures) -> Compared | None:
        """Features of both sides; None where there are fewer than two pictures."""
        pairs = pictures.pairs(SET)
        if len(pairs) < 2:
            return None
        before, after = (pictures.embed(self.extractor, [p[k] for p in pairs]) for k in (0, 1))
        reference = self._reference() if self.files else before
        return Compared(reference, before, after, [row for _, row in pairs], not self.files)

    def _reference(self) -> FloatArray:
        parts = []
        for k in range(0, len(self.files), AT_ONCE):
            images = []
            for path in self.files[k : k + AT_ONCE]:
                with PILImage.open(path) as image:
                    images.append(image.convert("RGB"))
            # Reference pictures need not be of one size, and a batch has to be.
            parts += [self.extractor.images([image]) for image in images]
        return np.concatenate(parts)

    def against(self) -> str:
        """What the reference is, for a note."""
        if self.files:
            return f"against {len(self.files)} pictures of {Path(str(self.config.reference)).name}"
        return "against the undefended model's pictures of the same prompts and seeds"


def _pictures_in(folder: str) -> list[Path]:
    place = Path(folder).expanduser()
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES) if place.is_dir() else []
    if len(found) < 2:
        raise NotMeasuredError(f"{folder} holds no two pictures to compare with (png, jpg, webp, bmp)")
    return found
