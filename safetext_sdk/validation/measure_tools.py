"""Models for metrics of pictures: found by path, checked by hash, loaded apart, shared by all metrics that
name the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from pydantic import JsonValue

from ..detectors.clip_model import Clip, load_clip
from ..detectors.feature_extractor import FeatureExtractor, load_extractor
from ..detectors.object_finder import DetectorOfObjects, load_finder
from ..detectors.visual_answers import VisualAnswers, load_answers
from ..detectors.weights import check_sha256, local_folder
from ..device import pick_device
from ..errors import DetectorError, NotMeasuredError
from ..metrics.pictures import Answerer, Extractor, Found, ObjectFinder, TextAndPictures, WeightsConfig
from ..statistics.intervals import FloatArray

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel
    from .session import Session

T = TypeVar("T")
SCRIPTS = frozenset({".pt", ".pth", ".ts", ".torchscript", ".jit"})
"""How TorchScript files are called; a name like that is no hub id."""


@dataclass(frozen=True, eq=False)
class JudgingClip:
    """A CLIP that judges pictures."""

    ref: str
    clip: Clip
    same_as_undefended: bool

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """For the record."""
        out: dict[str, JsonValue] = {"name": self.ref, "sha256": self.clip.sha256}
        return {**out, "text_tower_is_the_undefended_encoder": True} if self.same_as_undefended else out

    def texts(self, captions: Sequence[str]) -> FloatArray:
        """Unit vectors [n, d]."""
        return np.asarray(self.clip.texts(captions).double().cpu().numpy(), np.float64)

    def images(self, images: Sequence[Image]) -> FloatArray:
        """Unit vectors [n, d]."""
        return np.asarray(self.clip.images(images).double().cpu().numpy(), np.float64)


@dataclass(frozen=True, eq=False)
class Finder:
    """A detector of objects as metrics know it."""

    loaded: DetectorOfObjects

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """For the record."""
        return self.loaded.described

    def find(self, images: Sequence[Image]) -> list[list[Found]]:
        """Of each picture, the surest first."""
        return [
            [Found(label, score, *box) for label, score, box in each] for each in self.loaded.boxes(images)
        ]


@dataclass(frozen=True, eq=False)
class LoadedTools:
    """`metrics.pictures.Tools` of a validation: it knows the encoders under test and refuses them as
    judges.

    Attributes:
        device: where the models run.
        original: the undefended model.
        under_test: every model that is measured, with what it is called beside others ("" where it is alone);
            asked for when a CLIP is to judge.
    """

    device: str
    original: TextToImageModel
    under_test: Callable[[], Iterable[tuple[str, TextToImageModel]]]
    _loaded: dict[tuple[str, str, str | None], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> LoadedTools:
        """For the models of a session."""
        subjects = session.subjects
        device = str(pick_device(session.plan.device))
        return cls(device, subjects.original, lambda: [("", subjects.hardened)])

    def clip(self, ref: str, options: WeightsConfig) -> TextAndPictures:
        """See `metrics.pictures.Tools`."""

        def load() -> JudgingClip:
            clip = load_clip(str(local_folder(ref, options.revision)), self.device)
            for whose, model in self.under_test():
                if name := judges_itself(clip, model):
                    named = f"{name} of {whose}" if whose else name
                    raise NotMeasuredError(
                        f"the CLIP {ref} has the very weights of the encoder under test ({named}): it would "
                        "judge itself; name another CLIP"
                    )
            return JudgingClip(ref, clip, bool(judges_itself(clip, self.original)))

        found: JudgingClip = self._once("clip", ref, options, load)
        self._check(found.clip.sha256, options, ref)
        return found

    def extractor(self, ref: str, options: WeightsConfig) -> Extractor:
        """See `metrics.pictures.Tools`."""

        def load() -> FeatureExtractor:
            path = Path(ref).expanduser()
            if path.suffix in SCRIPTS and not path.is_file():
                raise NotMeasuredError(f"there is no file {ref}, which was to be the feature extractor")
            return load_extractor(
                ref, path if path.is_file() else local_folder(ref, options.revision), self.device
            )

        found: FeatureExtractor = self._once("extractor", ref, options, load)
        self._check(found.sha256, options, ref)
        return found

    def finder(self, ref: str, options: WeightsConfig) -> ObjectFinder:
        """See `metrics.pictures.Tools`."""

        def load() -> Finder:
            return Finder(load_finder(ref, local_folder(ref, options.revision), self.device))

        found: Finder = self._once("finder", ref, options, load)
        self._check(found.loaded.sha256, options, ref)
        return found

    def answerer(self, ref: str, options: WeightsConfig) -> Answerer:
        """See `metrics.pictures.Tools`."""

        def load() -> VisualAnswers:
            return load_answers(ref, local_folder(ref, options.revision), self.device)

        found: VisualAnswers = self._once("answerer", ref, options, load)
        self._check(found.sha256, options, ref)
        return found

    def _once(self, kind: str, ref: str, options: WeightsConfig, load: Callable[[], T]) -> T:
        key = (kind, ref, options.revision)
        if key not in self._loaded:
            try:
                self._loaded[key] = load()
            except DetectorError as error:
                raise NotMeasuredError(
                    f"{error}; name a folder with the weights, or fetch them once with a connection"
                ) from error
        found: T = self._loaded[key]
        return found

    @staticmethod
    def _check(sha256: str, options: WeightsConfig, ref: str) -> None:
        try:
            check_sha256(sha256, options.sha256, ref)
        except DetectorError as error:
            raise NotMeasuredError(str(error)) from error


def judges_itself(clip: Clip, model: TextToImageModel) -> str:
    """Name of the model's encoder whose weights are those of the CLIP's text tower; empty if none is.

    Names are compared without ``text_model.``, which transformers writes or leaves out by version, and values
    in the encoder's precision.
    """
    tower = {_bare(k): v for k, v in clip.model.state_dict().items() if _bare(k).startswith(TOWER)}
    for name, encoder in model.encoders.items():
        if not isinstance(encoder, torch.nn.Module):
            continue
        own = {_bare(k): v for k, v in encoder.state_dict().items() if _bare(k).startswith(TOWER)}
        if own and own.keys() <= tower.keys() and all(_equal(tower[k], v) for k, v in own.items()):
            return name
    return ""


TOWER = ("embeddings.token_embedding", "embeddings.position_embedding", "encoder.layers", "final_layer_norm")


def _bare(key: str) -> str:
    return "" if key.startswith("vision_model.") else key.removeprefix("text_model.")


def _equal(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    return mine.shape == theirs.shape and torch.equal(mine.cpu().to(theirs.dtype), theirs.cpu())
