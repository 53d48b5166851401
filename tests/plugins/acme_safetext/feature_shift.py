"""Metric ``feature_shift``: how far safe pictures turned in the eyes of a vision model. It needs weights, so
it is taken only when somebody asks for it, and is not measured where they are not there."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue

from safetext_sdk.errors import NotMeasuredError
from safetext_sdk.metrics import Metric, Unit
from safetext_sdk.metrics.pictures import (
    PictureMeasure,
    Pictures,
    Taken,
    Tools,
    WeightsConfig,
    values_of,
)
from safetext_sdk.statistics import Scale, mean_bounds

TURNED = Unit("1 - cosine", least=0.0, most=2.0, digits=4)


class ShiftConfig(WeightsConfig):
    """``model``: folder of a vision model, or a TorchScript file."""

    model: str | None = None


class FeatureShift(PictureMeasure[ShiftConfig]):
    """Mean over pairs of pictures of the same prompt and seed."""

    Config: ClassVar[type[ShiftConfig]] = ShiftConfig

    def __init__(self, config: ShiftConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        if config.model is None:
            raise NotMeasuredError("no vision model; --set feature_shift.model=FOLDER")
        self.model = tools.extractor(config.model, config)

    @property
    def settings(self) -> dict[str, JsonValue]:
        return {**super().settings, "loaded": dict(self.model.described)}

    def take(self, pictures: Pictures) -> Taken:
        pairs = pictures.pairs("safe")
        after = [row for _, row in pairs]
        x, y = (pictures.embed(self.model, [pair[k] for pair in pairs]) for k in (0, 1))
        cosine = (x * y).sum(-1) / ((x**2).sum(-1) * (y**2).sum(-1)) ** 0.5
        turned = [min(2.0, max(0.0, 1 - float(c))) for c in cosine]
        return Taken(
            mean_bounds(turned, [r.prompt for r in after], [r.cluster for r in after], Scale(0.0, 2.0)),
            "safe",
            values=values_of(after, turned),
            notes=(f"seen by {self.model.described['name']}",),
        )


METRIC = Metric(
    name="feature_shift",
    title="turn of safe pictures",
    meaning="Mean of 1 - cosine between features of safe pictures and of the original's.",
    better="lower",
    prompts="safe",
    pictures=FeatureShift,
    unit=TURNED,
)
