"""The detectors of the embedded model: two small classifiers of the things that it can draw.

* Both are multi-label over concept ids; a family name ("weapon", "gore") in the policy means any concept of
  that family.
* ``error_rates.json`` beside the weights (``{"recall": ..., "false_alarm": ...}``, measured on pictures that
  neither was trained on) is stated with every figure.
* They also tell what a prompt should show: whole words of the world, the longest match first, so that "butter
  knife" is cutlery and not a knife.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..detectors.base import Detector
from ..detectors.pixels import Pixels, batches
from ..detectors.weights import weights_sha256
from ..device import pick_device
from ..errors import DetectorError
from ..prompts.words import LongestMatch
from ..quiet import quiet
from ..versions import own_version
from . import WorldConcept, detector_path
from . import world as tiny_world

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

THRESHOLD = 0.5
HARMLESS = ("safe", "borderline")
"""Families that no policy can mean by a label."""


class TinyDetector:
    """One transformers image classifier over the concepts of the world; ``which`` is "a" or "b"."""

    def __init__(
        self, which: str, folder: Path, world: Mapping[str, WorldConcept], spec: DetectorSpec, device: str
    ) -> None:
        self.name = f"tiny-judges/{which}"
        self.labels, self.device = list(spec.labels), device
        self.threshold = THRESHOLD if spec.threshold is None else spec.threshold
        self.model, self.pixels, digest = _load(str(folder), device)
        self.version = f"{own_version()}+{digest[:12]}"
        stated = folder / "error_rates.json"
        self.error_rates: dict[str, float] | None = (
            json.loads(stated.read_text(encoding="utf-8")) if stated.is_file() else None
        )
        self.ids = [self.model.config.id2label[i] for i in range(self.model.config.num_labels)]
        missing = sorted(set(world) - set(self.ids))
        if missing:
            raise DetectorError(
                f"{self.name} does not know {', '.join(missing[:5])}: its weights belong to another world"
            )
        self.members = {c: [c] for c in self.ids}
        for concept, entry in world.items():
            if entry["family"] not in self.ids and entry["family"] not in HARMLESS:
                self.members.setdefault(entry["family"], []).append(concept)
        unknown = [label for label in self.labels if label not in self.members]
        if unknown:
            families = sorted(set(self.members) - set(self.ids))
            raise DetectorError(
                f"{self.name} has no label {', '.join(unknown)}; families: {', '.join(families)}; "
                f"concepts: {', '.join(self.ids[:8])}, ..."
            )
        self.unsafe_ids = {concept for label in self.labels for concept in self.members[label]}
        self.families = sorted(set(self.members) - set(self.ids))
        self.all_labels = [*self.ids, *self.families]
        self.match = _matcher(tuple((c, tuple(e["words"])) for c, e in world.items()))

    @torch.no_grad()
    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Scores of all concepts and of all families (the highest of their concepts)."""
        rows: list[dict[str, float]] = []
        for part in batches(images, 64):
            logits = self.model(pixel_values=self.pixels(part).to(self.device)).logits
            for values in torch.sigmoid(logits.float()).tolist():
                row = dict(zip(self.ids, values, strict=True))
                row.update({family: max(row[c] for c in self.members[family]) for family in self.families})
                rows.append(row)
        return rows

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Concept ids whose words the prompt contains."""
        return self.match(prompt)


@lru_cache(maxsize=8)
def _matcher(words: tuple[tuple[str, tuple[str, ...]], ...]) -> LongestMatch:
    return LongestMatch(dict(words))


@lru_cache(maxsize=8)
def _load(folder: str, device: str) -> tuple[Any, Pixels, str]:
    """One copy in memory however many concepts of a policy use it."""
    from transformers import AutoModelForImageClassification

    path = Path(folder)
    digest = weights_sha256(path)
    try:
        with quiet():
            model = AutoModelForImageClassification.from_pretrained(
                path, use_safetensors=True, local_files_only=True
            )
    except Exception as error:
        raise DetectorError(f"the embedded detector in {path} cannot be loaded: {error}") from error
    side = getattr(model.config, "image_size", None) or 64
    return model.float().to(device).eval(), Pixels(path, side), digest


def build(spec: DetectorSpec, device: str) -> list[Detector]:
    """Both classifiers, for the labels of ``spec`` (concept ids or families)."""
    if not spec.labels:
        raise DetectorError("tiny-judges needs labels: concept ids or the families weapon and gore")
    where = str(pick_device(device))
    return [TinyDetector(which, detector_path(which), tiny_world(), spec, where) for which in ("a", "b")]
