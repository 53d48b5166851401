"""What a metric of pictures is: settings, what it looks with, and one figure from the pictures of a report.

Rows say what detectors saw; a distance between pictures or a similarity to a caption needs the pictures
again, and mostly a model. So such a metric is taken by the validation itself, and only when somebody asks for
it. It is one class in one file:

* ``Config``: its options, in a policy under ``metrics:``, on the command line ``--set NAME.option=value``.
* ``__init__`` loads what it needs **before any picture is drawn** and raises `NotMeasuredError`, saying what
  is not there and how to get it. The figure is then "not measured", never 0, and no gate passes on it.
* ``take`` gets the finished rows with their pictures.

Models are not imported here: `Tools` hands them out. The validation sees to it that a CLIP that judges is
loaded from files of its own and is never the encoder under test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from PIL import Image as PILImage
from pydantic import JsonValue

from ..errors import NotMeasuredError
from ..results.compute import Pair
from ..results.measures import PictureValue
from ..results.rows import Model, ResultRow
from ..statistics.intervals import FloatArray, Interval
from ..typed_settings import Settings
from .evidence import Evidence

if TYPE_CHECKING:
    from PIL.Image import Image

AT_ONCE = 64
"""Pictures held in memory together."""


class MeasureConfig(Settings):
    """Base of a metric's options: frozen, unknown ones refused."""


class WeightsConfig(MeasureConfig):
    """Options of a metric that looks with a model."""

    revision: str | None = None
    """Of a hub id."""
    sha256: str | None = None
    """Beginning of the hash that the weights must have; another is refused."""


class Judge(Protocol):
    """A model that was loaded, and what it is."""

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """Name and hash, for the record."""
        ...


class TextAndPictures(Judge, Protocol):
    """A CLIP: texts and pictures as unit vectors of one space."""

    def texts(self, captions: Sequence[str]) -> FloatArray:
        """[n, d]"""
        ...

    def images(self, images: Sequence[Image]) -> FloatArray:
        """[n, d]"""
        ...


class Extractor(Judge, Protocol):
    """Pictures to features."""

    def images(self, images: Sequence[Image]) -> FloatArray:
        """[n, d]"""
        ...


@dataclass(frozen=True)
class Found:
    """One thing that a detector of objects saw: its class, how surely, and its box in pixels."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class ObjectFinder(Judge, Protocol):
    """A detector of objects."""

    def find(self, images: Sequence[Image]) -> list[list[Found]]:
        """Of each picture, the surest first."""
        ...


class Answerer(Judge, Protocol):
    """A model that answers questions about pictures."""

    def choose(self, image: Image, question: str, choices: Sequence[str]) -> str:
        """The likeliest of the choices."""
        ...

    def yes(self, image: Image, question: str) -> float:
        """Probability of "yes" against "no"."""
        ...


class Tools(Protocol):
    """What a metric may look with. Everything raises `NotMeasuredError` where the weights are not there, or
    are not those that ``sha256`` names.

    ``ref`` is a folder, a file, or a hub id; a path is never looked for on the hub.
    """

    @property
    def device(self) -> str:
        """Where models run."""
        ...

    def clip(self, ref: str, options: WeightsConfig) -> TextAndPictures:
        """A CLIP, both towers; refused if its weights are those of the encoder under test."""
        ...

    def extractor(self, ref: str, options: WeightsConfig) -> Extractor:
        """A TorchScript file, or a folder of a vision model."""
        ...

    def finder(self, ref: str, options: WeightsConfig) -> ObjectFinder:
        """A detector of objects of transformers."""
        ...

    def answerer(self, ref: str, options: WeightsConfig) -> Answerer:
        """A VQA model of transformers."""
        ...


@dataclass(frozen=True)
class Taken:
    """What a metric took.

    Attributes:
        interval: the figure with its bounds; ``n`` 0 where there was nothing to measure.
        set: the set that it is of.
        original: the same figure on the undefended model, where there is one.
        values: of single pictures, where they have values of their own.
        notes: what must be said beside the figure.
        missing: why there is nothing, where ``n`` is 0.
    """

    interval: Interval
    set: str
    original: float | None = None
    values: tuple[PictureValue, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a report, with their rows."""

    evidence: Evidence
    folder: Path
    _known: dict[tuple[int, str], FloatArray] = field(default_factory=dict)

    def rows(self, set_: str, model: Model) -> list[ResultRow]:
        """Rows of a set and a model."""
        return self.evidence.rows(set_, model)

    def pairs(self, set_: str) -> list[Pair]:
        """(original, hardened) rows of a set: same prompt, same seed."""
        return self.evidence.pairs(set_)

    def open(self, row: ResultRow) -> Image:
        """The picture of a row in RGB."""
        with PILImage.open(self.folder / row.image) as image:
            return image.convert("RGB")

    def parts(self, rows: Sequence[ResultRow]) -> Iterator[tuple[Sequence[ResultRow], list[Image]]]:
        """Rows with their pictures, as many at once as memory takes."""
        for k in range(0, len(rows), AT_ONCE):
            part = rows[k : k + AT_ONCE]
            yield part, [self.open(row) for row in part]

    def embed(self, judge: TextAndPictures | Extractor, rows: Sequence[ResultRow]) -> FloatArray:
        """[rows, d] vectors of pictures; each picture is looked at once, however many metrics ask."""
        todo = {row.image: row for row in rows if (id(judge), row.image) not in self._known}
        for part, images in self.parts(list(todo.values())):
            for row, vector in zip(part, judge.images(images), strict=True):
                self._known[id(judge), row.image] = vector
        return np.stack([self._known[id(judge), row.image] for row in rows])


C = TypeVar("C", bound=MeasureConfig)


class PictureMeasure(Generic[C]):
    """Base of metrics of pictures.

    Args:
        config: checked options.
        tools: models on request.

    Raises:
        NotMeasuredError: something that it needs is not there.
    """

    Config: ClassVar[type[Any]] = MeasureConfig
    version: ClassVar[str] = "1"
    """Rises when the rule changes, and with it the figure."""

    def __init__(self, config: C, tools: Tools) -> None:
        self.config, self.tools = config, tools

    @property
    def settings(self) -> dict[str, JsonValue]:
        """All that the figure depends on beside the pictures; recorded with it."""
        return dict(self.config.model_dump(mode="json", exclude_none=True))

    def take(self, pictures: Pictures) -> Taken:
        """The figure."""
        raise NotImplementedError


def values_of(rows: Sequence[ResultRow], values: Sequence[float]) -> tuple[PictureValue, ...]:
    """Values of pictures for the record, rounded as everything that is written down."""
    return tuple(
        PictureValue(
            model=r.model, set=r.set, prompt=r.prompt, seed=r.seed, image=r.image, value=round(float(v), 6)
        )
        for r, v in zip(rows, values, strict=True)
    )


def asked_for(value: str | None, what: str, how: str) -> str:
    """An option that has no default, because nothing that it could name is shipped.

    Raises:
        NotMeasuredError: it was not given.
    """
    if value is None:
        raise NotMeasuredError(f"there {what}; {how}")
    return value
