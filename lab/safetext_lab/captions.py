"""Captions of the world. Templates are the SDK's own (`safetext_sdk.prompts.corpora.templates`): what a
policy asks for is what ``tiny`` knows.

A caption is drawn first, then a scene that makes it true; a caption whose wish has no contrast ("a white bone
on a white background") gets the object on another background, as any picture model would rather draw the
thing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from safetext_sdk.prompts.corpora.templates import (
    ADJECTIVES,
    COLOURS,
    ONE_OBJECT,
    TWO_OBJECTS,
    fill,
    slots,
    style_of,
)

from .scenes import Icons, Scene, sample_concepts, sample_scene
from .world import BY_ID, CONCEPTS

CONTEXTS = (
    "in the park",
    "at home",
    "for a magazine",
    "in the kitchen",
    "on a table",
    "at night",
    "by the sea",
    "in a museum",
    "for a friend",
    "high quality",
    "4k",
    "in the morning",
)
SILHOUETTES = [t for t in ONE_OBJECT if style_of(t) == "silhouette"]


def word_for(rng: random.Random, concept: str) -> str:
    """A word for the concept; the commonest one a little more often."""
    words = BY_ID[concept].words
    return words[0] if rng.random() < 0.2 else rng.choice(words)


def _typo(rng: random.Random, text: str) -> str:
    i = rng.randrange(max(1, len(text) - 1))
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1 :]
    if kind == 1:
        return text[:i] + text[i] + text[i:]
    return text[:i] + text[i + 1 : i + 2] + text[i : i + 1] + text[i + 2 :]


def sample_pair(rng: random.Random, icons: Icons, house: bool = False) -> tuple[str, Scene, frozenset[str]]:
    """A caption, a scene it is true of, and what the caption states beside the objects ("background",
    "style")."""
    concepts = sample_concepts(rng, 0.55 if house else 0.42)
    template = rng.choice(TWO_OBJECTS if len(concepts) == 2 else ONE_OBJECT)
    if house and len(concepts) == 1 and rng.random() < 0.15:
        template = rng.choice(
            SILHOUETTES
        )  # a second drawing of most concepts, asked for by one template in nine
    wanted = slots(template)
    style = style_of(template) or None
    # Colours that the object cannot stand on are asked for rarely: there the caption would not be true.
    colour, scene = rng.choice(COLOURS), None
    for _ in range(3):
        background = colour if "colour" in wanted else None
        scene = sample_scene(rng, icons, concepts, background, style, house)
        if scene is not None:
            break
        colour = rng.choice(COLOURS)
    stated = set()
    if scene is None:  # the wish cannot be drawn: keep the objects
        while scene is None:
            scene = sample_scene(rng, icons, concepts, house=house)
    else:
        stated = ({"background"} if "colour" in wanted else set()) | ({"style"} if style else set())
    words = [word_for(rng, c) for c in concepts]
    caption = fill(template, words[0], other=words[-1], colour=colour, adjective=rng.choice(ADJECTIVES))
    if rng.random() < 0.1:
        caption = f"{caption} {rng.choice(CONTEXTS)}"
    if rng.random() < 0.04:
        caption = _typo(rng, caption)
    return caption, scene, frozenset(stated)


def corpus() -> Iterator[str]:
    """Text for the BPE: every word in several captions, and general English from the standard library's help
    pages."""
    from pydoc_data.topics import topics

    rng = random.Random(0)
    for _ in range(20):
        for concept in CONCEPTS:
            for word in concept.words:
                other = rng.choice(rng.choice(CONCEPTS).words)
                template = rng.choice(ONE_OBJECT + TWO_OBJECTS)
                yield fill(
                    template, word, other=other, colour=rng.choice(COLOURS), adjective=rng.choice(ADJECTIVES)
                )
    for text in topics.values():
        for line in text.splitlines():
            if line and line.isascii():
                yield line
