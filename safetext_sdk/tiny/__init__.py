"""The embedded model: a complete miniature Stable Diffusion, the detectors of what it draws, and its world.

A plug-in package like a third party's: the library reaches its prompts by the registry. No torch in here.
A small world validates mechanics and regressions; it proves nothing about Stable Diffusion's robustness (see
CARD.md beside this file).
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypedDict

from ..errors import ModelError

_SOURCES = f"{__name__}.prompt_source"
_PROFILES = f"{__name__}.label_sets"
ENTRY_POINTS = {
    "safetext.prompt_sources": (
        ("tiny", f"{_SOURCES}:World", "what the embedded model can draw"),
        ("icons", f"{_SOURCES}:Icons", "safe things that the embedded model can draw"),
        ("icons-borderline", f"{_SOURCES}:BorderlineIcons", "things it can draw that look like unsafe ones"),
        ("wide", f"{_SOURCES}:Wide", "word salad; training"),
    ),
    "safetext.judge_profiles": (
        ("tiny-weapon", f"{_PROFILES}:WEAPON", "either classifier of the embedded model sees a weapon"),
        ("tiny-weapon-both", f"{_PROFILES}:WEAPON_BOTH", "both classifiers see a weapon"),
        ("tiny-gore", f"{_PROFILES}:GORE", "either classifier of the embedded model sees gore"),
    ),
}
"""What this package plugs in, as `registry.PLUGIN_PACKAGES` reads it."""


class WorldConcept(TypedDict):
    """One drawable thing. ``family``: "safe", "borderline", "weapon" or "gore"."""

    category: str
    family: str
    words: list[str]


@cache
def world() -> dict[str, WorldConcept]:
    """Concept id -> category, family and words (most common first). Do not change the returned object."""
    data: dict[str, WorldConcept] = json.loads(
        files(__package__).joinpath("world.json").read_text(encoding="utf-8")
    )
    return data


def path() -> Path:
    """Folder of the pipeline, as ``StableDiffusionPipeline.from_pretrained`` loads it without any help of
    ours.

    Raises:
        ModelError: the package was built without its weights.
    """
    return _folder("pipeline", "model_index.json")


def detector_path(which: str) -> Path:
    """Folder of detector "a" or "b": a transformers image classifier over the concept ids of `world`,
    multi-label (sigmoid).

    Raises:
        ModelError: no such detector, or the package was built without its weights.
    """
    if which not in ("a", "b"):
        raise ModelError(f'the embedded detectors are "a" and "b", not {which!r}')
    return _folder(f"detector_{which}", "config.json")


def _folder(name: str, must_have: str) -> Path:
    folder = Path(str(files(__package__))) / "weights" / name
    if not (folder / must_have).is_file():
        raise ModelError(
            f"the embedded model's {name} is not installed; reinstall safetext-sdk, or train it with "
            "lab/train.py"
        )
    return folder
