"""The embedded model: its world (which concepts it can draw, in which words). Data only; no torch here."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TypedDict


class WorldConcept(TypedDict):
    """One drawable thing. ``family``: "safe", "borderline", "weapon" or "gore"."""

    category: str
    family: str
    words: list[str]


@cache
def world() -> dict[str, WorldConcept]:
    """Concept id -> category, family and words (most common first). Do not change the returned object."""
    data: dict[str, WorldConcept] = json.loads(files(__package__).joinpath("world.json").read_text(encoding="utf-8"))
    return data
