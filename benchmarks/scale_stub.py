"""A station whose pipeline only waits: what is left of a plan's time is what handing it out costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from safetext_sdk.detectors.detector_set import Assignment, DetectorSet
from safetext_sdk.validation.generate import PictureMaker, Request, Settings
from safetext_sdk.validation.score import Scoring
from safetext_sdk.validation.station import Station


class Waiting(PictureMaker):
    """Draws a plain square a picture, after ``seconds`` of waiting each."""

    def __init__(self, name: str, folder: Path, seconds: float, batch_size: int) -> None:
        self.folder, self.seconds, self.batch_size, self.workers = folder, seconds, batch_size, 1
        self.fingerprint = {"stub": name}
        self.settings, self.cache = Settings(steps=1, guidance=2.0, height=8, width=8), None
        self.model: Any = SimpleNamespace(dtype="float32", device=SimpleNamespace(type="cpu"))
        folder.mkdir(parents=True, exist_ok=True)

    def _make(
        self, parts: Sequence[Sequence[Request]], on_done: Callable[[int], None] | None, threads: bool
    ) -> None:
        for part in parts:
            time.sleep(self.seconds * len(part))
            self._keep(part, [Image.new("RGB", (8, 8), (r.seed % 256, len(r.prompt), 7)) for r in part])


class Looks:
    """A detector that looks at one pixel."""

    name, version, threshold, labels = "stub/pixel", "1", 0.5, ("weapon",)

    def score(self, images: Sequence[Any]) -> list[dict[str, float]]:
        return [{"weapon": image.getpixel((0, 0))[0] / 255} for image in images]

    def expected(self, prompt: str) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class StubStation(Station):
    """``seconds``: of waiting a picture."""

    seconds: float = 0.0

    def scoring(self) -> Scoring:
        makers = {
            name: Waiting(name, self.folder / "images", self.seconds, self.batch_size)
            for name in ("original", "hardened")
        }
        detectors = DetectorSet([Assignment("weapon", Looks())])  # type: ignore[arg-type]
        return Scoring(makers, detectors, self.folder, lambda what, done, total: None)
