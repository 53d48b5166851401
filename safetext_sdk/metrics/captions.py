"""What metrics of pictures and captions share: a CLIP that is loaded apart, and the rows of both models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import JsonValue

from ..results.rows import Model, ResultRow
from ..statistics.intervals import FloatArray
from .pictures import PictureMeasure, Pictures, TextAndPictures, Tools, WeightsConfig

MODEL = "openai/clip-vit-base-patch32"
"""The smallest CLIP of the original release."""
SET = "safe"


class ClipConfig(WeightsConfig):
    """``model``: folder or hub id of the CLIP that judges; never the encoder under test."""

    model: str = MODEL


class ClipMeasure(PictureMeasure[ClipConfig]):
    """Loads the CLIP and embeds pictures and captions."""

    Config = ClipConfig

    def __init__(self, config: ClipConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.clip: TextAndPictures = tools.clip(config.model, config)

    @property
    def settings(self) -> dict[str, JsonValue]:
        return {**super().settings, "loaded": dict(self.clip.described)}

    def rows(self, pictures: Pictures, model: Model) -> list[ResultRow]:
        """The rows that are judged."""
        return pictures.rows(SET, model)

    def captions(self, texts: Sequence[str]) -> FloatArray:
        """[n, d], each text looked at once."""
        distinct = list(dict.fromkeys(texts))
        place = {text: k for k, text in enumerate(distinct)}
        return np.asarray(self.clip.texts(distinct), np.float64)[[place[text] for text in texts]]

    def judged_by(self) -> str:
        """For a note: who judged, by hash."""
        told = self.clip.described
        same = told.get("text_tower_is_the_undefended_encoder")
        more = ", whose text tower is the undefended model's encoder" if same else ""
        return f"judged by {told['name']} ({str(told['sha256'])[:12]}){more}"
