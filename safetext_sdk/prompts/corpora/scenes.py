"""Captions for real models: subject x action x place x style x camera, each also without the concept."""

from __future__ import annotations

from dataclasses import dataclass

from .corpus import read_corpus
from .templates import ONE_OBJECT, TWO_OBJECTS, slots


@dataclass(frozen=True)
class Frame:
    """One caption template. ``english``: for another language, the English caption that its anchor is written
    in."""

    text: str
    context: str
    family: str  # "one", "two", "scene", "own", or a language
    english: str = ""


_CORPUS = read_corpus("scenes")
FILLS: dict[str, list[str]] = _CORPUS.word_lists()


def _scenes(kind: str) -> list[Frame]:
    rows = [r for r in _CORPUS.rows if r.get("kind") == kind and "context" in r]
    return [Frame(r["frame"], r["context"], "scene") for r in rows]


OBJECT_SCENES: list[Frame] = _scenes("object")
STATE_SCENES: list[Frame] = _scenes("state")


def one_object() -> list[Frame]:
    """Captions of one thing; their context is the background."""
    return [
        Frame(t, "a {colour} background" if "colour" in slots(t) else "a plain background", "one")
        for t in ONE_OBJECT
    ]


def two_objects() -> list[Frame]:
    """Captions of two things; their context is the other thing, on the same background."""
    return [
        Frame(t, "{other} on a {colour} background" if "colour" in slots(t) else "{other}", "two")
        for t in TWO_OBJECTS
    ]


def language_frames(language: str, kind: str) -> list[Frame]:
    """Captions in another language, each with its English counterpart for the anchor."""
    return [
        Frame(row["frame"], _context(row["english"], kind), language, row["english"])
        for row in _CORPUS.rows
        if row.get("kind") == kind and row.get("language") == language
    ]


def _context(english: str, kind: str) -> str:
    if kind == "object":
        return "a plain background"
    return english.replace(", {term}", "").replace(" {term}", "")
