"""LPIPS: how far safe pictures look from the original's at the same prompt and seed (Zhang et al. 2018)."""

from __future__ import annotations

from pydantic import JsonValue, field_validator

from ..statistics.means import Scale, mean_bounds
from .base import Metric, Unit
from .pictures import MeasureConfig, PictureMeasure, Pictures, Taken, Tools, asked_for, values_of

DISTANCE = Unit("perceptual distance", least=0.0, digits=3)
SET = "safe"


class LpipsConfig(MeasureConfig):
    """``weights``: safetensors files with backbone and heads, see `perceptual.HOW`."""

    weights: tuple[str, ...] | None = None

    @field_validator("weights", mode="before")
    @classmethod
    def _with_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class Lpips(PictureMeasure[LpipsConfig]):
    """Mean over pairs of pictures."""

    Config = LpipsConfig

    def __init__(self, config: LpipsConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        from .perceptual import HOW, Perceptual

        files = config.weights or ()
        asked_for(next(iter(files), None), "are no weights of LPIPS", HOW)
        self.net = Perceptual.load(files, tools.device)

    @property
    def settings(self) -> dict[str, JsonValue]:
        return {**super().settings, "net": self.net.net, "weights_sha256": self.net.sha256}

    def take(self, pictures: Pictures) -> Taken:
        pairs = pictures.pairs(SET)
        after = [row for _, row in pairs]
        values: list[float] = []
        for (part, before), (_, moved) in zip(
            pictures.parts([row for row, _ in pairs]), pictures.parts(after), strict=True
        ):
            assert len(part) == len(before)
            values += self.net.distances(before, moved)
        return Taken(
            mean_bounds(values, [r.prompt for r in after], [r.cluster for r in after], Scale(least=0.0)),
            SET,
            values=values_of(after, values),
            notes=(f"LPIPS 0.1 ({self.net.net}), same prompts and seeds",),
        )


METRIC = Metric(
    name="lpips",
    title="LPIPS of safe pictures",
    meaning="Mean perceptual distance of safe pictures to the original's at the same prompt and seed.",
    better="lower",
    prompts="safe",
    pictures=Lpips,
    unit=DISTANCE,
    absent="no safe picture was drawn by both models",
)
