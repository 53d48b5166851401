"""The undefended model itself: the first row of every comparison."""

from __future__ import annotations

from ..models import TextToImageModel
from .base import Baseline, BaselineConfig, BaselineContext, Learned


class Original(Baseline[BaselineConfig]):
    """Nothing is done."""

    name = "original"
    summary = "the undefended model"

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        return context.original
