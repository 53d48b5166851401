"""TIFA-style: the share of questions about a prompt that a VQA model answers rightly from its picture (Hu et
al. 2023, "TIFA", ICCV, section 3), with the user's own VQA model and file of questions.

Figures of different VQA models or questions are not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, JsonValue

from ..results.rows import Model, ResultRow
from ..statistics.intervals import Interval
from ..statistics.rates import rate_bounds
from .base import Metric, Unit
from .pictures import PictureMeasure, Pictures, Taken, Tools, WeightsConfig, asked_for, values_of
from .questions import NO_PROMPT, Question, QuestionFile, plain

ANSWERED = Unit("share answered", least=0.0, most=1.0, scale=100.0, digits=1, suffix=" %")
HOW = (
    "a folder or hub id of a VQA model of transformers (ViLT, or any image-text-to-text model): "
    "--set tifa.model=PATH, and questions with caption, question, choices and answer, as TIFA v1.0 has them: "
    "--set tifa.questions=FILE"
)


class Asked(Question):
    """One question of TIFA."""

    question: str
    choices: tuple[str, ...] = Field(min_length=2)
    answer: str


class TifaConfig(WeightsConfig):
    """``model``: that answers. ``questions``: JSON list, or one object a line."""

    model: str | None = None
    questions: str | None = None


class Tifa(PictureMeasure[TifaConfig]):
    """Mean over pictures of the share of right answers."""

    Config = TifaConfig

    def __init__(self, config: TifaConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        path = asked_for(config.questions, "is no file of questions", HOW)
        self.file = QuestionFile.read(path, Asked, ("prompt", "caption", "text"))
        self.model = tools.answerer(asked_for(config.model, "is no VQA model", HOW), config)

    @property
    def settings(self) -> dict[str, JsonValue]:
        return {
            **super().settings,
            "loaded": dict(self.model.described),
            "questions_sha256": self.file.sha256,
        }

    def take(self, pictures: Pictures) -> Taken:
        set_ = self.file.set_of(pictures)
        before, after = (self._answered(pictures, set_, model) for model in ("original", "hardened"))
        rows, shares = after
        if not rows:
            return Taken(Interval(math.nan, 0.0, 1.0, 0), set_, missing=NO_PROMPT)
        questions = sum(len(self.file.of(row)) for row in rows)
        return Taken(
            rate_bounds(shares, [r.prompt for r in rows], [r.cluster for r in rows]),
            set_,
            sum(before[1]) / len(before[1]) if before[1] else None,
            values=(*values_of(*before), *values_of(*after)),
            notes=(f"{questions} questions, answered by {self.model.described['name']}",),
        )

    def _answered(
        self, pictures: Pictures, set_: str, model: Model
    ) -> tuple[Sequence[ResultRow], list[float]]:
        rows = self.file.rows(pictures, set_, model)
        shares: list[float] = []
        for part, images in pictures.parts(rows):
            for row, image in zip(part, images, strict=True):
                asked: Sequence[Asked] = self.file.of(row)
                right = [
                    plain(self.model.choose(image, q.question, q.choices)) == plain(q.answer) for q in asked
                ]
                shares.append(sum(right) / len(right))
        return rows, shares


METRIC = Metric(
    name="tifa",
    title="TIFA-style faithfulness",
    meaning="Share of questions about their prompts that a VQA model answers rightly from the pictures.",
    better="higher",
    prompts="safe",
    pictures=Tifa,
    unit=ANSWERED,
    absent=NO_PROMPT,
)
