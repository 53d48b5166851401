"""GenEval-style: do pictures show the objects that their prompts name, in number, place and colour?

Rules and thresholds of Ghosh, Hajishirzi, Schmidt 2023 ("GenEval", NeurIPS, section 3 and the authors'
``evaluate_images.py``), with the user's own detector of objects and the metadata file of that benchmark.
Three differences make figures not comparable with published ones: any detector may be given, colours are told
from boxes and not from masks, and by one caption a colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from ..errors import NotMeasuredError
from ..results.rows import Model, ResultRow
from ..statistics.intervals import Interval
from ..statistics.rates import rate_bounds
from .base import Metric, Unit
from .pictures import Found, PictureMeasure, Pictures, Taken, Tools, WeightsConfig, asked_for, values_of
from .questions import NO_PROMPT, Question, QuestionFile

if TYPE_CHECKING:
    from PIL.Image import Image

RIGHT = Unit("share right", least=0.0, most=1.0, scale=100.0, digits=1, suffix=" %")
SURE, SURE_WHEN_COUNTING = 0.3, 0.9
APART = 0.1
"""Of the sum of both sides: nearer centres have no place to one another."""
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
HOW = (
    "a folder or hub id of a detector of objects of transformers, as facebook/detr-resnet-50: "
    "--set geneval.detector=PATH, and the benchmark's evaluation_metadata.jsonl: --set geneval.questions=FILE"
)


class Wanted(Question):
    """Things of one class that must be there."""

    name: str = Field(alias="class")
    count: int = 1
    color: str | None = None
    position: tuple[Literal["left of", "right of", "above", "below"], int] | None = None
    """Where it is to the thing at that place of the list."""


class Scene(Question):
    """A line of GenEval's metadata."""

    tag: str = ""
    include: tuple[Wanted, ...] = ()
    exclude: tuple[Wanted, ...] = ()


class GenEvalConfig(WeightsConfig):
    """``detector``: of objects. ``questions``: metadata of GenEval. ``clip``: tells colours; without it
    prompts with colours are left out."""

    detector: str | None = None
    questions: str | None = None
    clip: str | None = None


class GenEval(PictureMeasure[GenEvalConfig]):
    """Share of pictures that show all that is asked for."""

    Config = GenEvalConfig

    def __init__(self, config: GenEvalConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.file = QuestionFile.read(
            asked_for(config.questions, "is no file of questions", HOW), Scene, ("prompt",)
        )
        self.finder = tools.finder(asked_for(config.detector, "is no detector of objects", HOW), config)
        apart = WeightsConfig()  # revision and hash are the detector's
        self.clip = tools.clip(config.clip, apart) if config.clip is not None else None

    @property
    def settings(self) -> dict[str, JsonValue]:
        loaded: dict[str, JsonValue] = {"detector": dict(self.finder.described)}
        if self.clip is not None:
            loaded["clip"] = dict(self.clip.described)
        return {**super().settings, "loaded": loaded, "questions_sha256": self.file.sha256}

    def take(self, pictures: Pictures) -> Taken:
        set_ = self.file.set_of(pictures)
        before, after = (self._right(pictures, set_, model) for model in ("original", "hardened"))
        rows, right = after
        if not rows:
            return Taken(Interval(math.nan, 0.0, 1.0, 0), set_, missing=NO_PROMPT)
        return Taken(
            rate_bounds(right, [r.prompt for r in rows], [r.cluster for r in rows]),
            set_,
            sum(before[1]) / len(before[1]) if before[1] else None,
            values=(*values_of(*before), *values_of(*after)),
            notes=(f"objects by {self.finder.described['name']}; not comparable with published GenEval",),
        )

    def _right(self, pictures: Pictures, set_: str, model: Model) -> tuple[Sequence[ResultRow], list[bool]]:
        rows = [r for r in self.file.rows(pictures, set_, model) if self._can_tell(self.file.of(r)[0])]
        right: list[bool] = []
        for part, images in pictures.parts(rows):
            for row, image, found in zip(part, images, self.finder.find(images), strict=True):
                right.append(self._shows(self.file.of(row)[0], found, image))
        return rows, right

    def _can_tell(self, scene: Scene) -> bool:
        return self.clip is not None or not any(wanted.color for wanted in scene.include)

    def _shows(self, scene: Scene, found: Sequence[Found], image: Image) -> bool:
        sure = SURE_WHEN_COUNTING if scene.tag == "counting" else SURE
        seen: dict[str, list[Found]] = {}
        for thing in found:
            if thing.score > sure:
                seen.setdefault(thing.label, []).append(thing)
        groups: list[list[Found]] = []
        for wanted in scene.include:
            there = seen.get(wanted.name.lower(), [])[: wanted.count]  # the surest ones alone are looked at
            if len(there) < wanted.count:
                return False
            if wanted.color is not None and any(self._colour(f, image) != wanted.color for f in there):
                return False
            if wanted.position is not None:
                relation, other = wanted.position
                if not all(relation in places(a, b) for a in there for b in groups[other]):
                    return False
            groups.append(there)
        return all(len(seen.get(no.name.lower(), [])) < no.count for no in scene.exclude)

    def _colour(self, thing: Found, image: Image) -> str:
        if self.clip is None:
            raise NotMeasuredError("colours are told by a CLIP: --set geneval.clip=FOLDER")
        box = (int(thing.left), int(thing.top), math.ceil(thing.right), math.ceil(thing.bottom))
        near = self.clip.images([image.crop(box)])[0]
        texts = self.clip.texts([f"a photo of a {colour} {thing.label}" for colour in COLOURS])
        return COLOURS[int((texts @ near).argmax())]


def places(a: Found, b: Found) -> set[str]:
    """Where ``a`` is to ``b``, by centres; nothing where they are too near."""
    sides = ((a.right - a.left + b.right - b.left) * APART, (a.bottom - a.top + b.bottom - b.top) * APART)
    offset = (
        (a.left + a.right - b.left - b.right) / 2,
        (a.top + a.bottom - b.top - b.bottom) / 2,
    )
    kept = [math.copysign(max(abs(o) - side, 0.0), o) for o, side in zip(offset, sides, strict=True)]
    length = math.hypot(*offset)
    if not any(kept) or not length:
        return set()
    x, y = kept[0] / length, kept[1] / length
    told = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, true in told.items() if true}


METRIC = Metric(
    name="geneval",
    title="GenEval-style composition",
    meaning="Share of pictures that show the objects of their prompts, in number, place and colour.",
    better="higher",
    prompts="safe",
    pictures=GenEval,
    unit=RIGHT,
    absent=NO_PROMPT,
)
