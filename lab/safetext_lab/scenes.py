"""Pictures of the world: one or two icons on a plain background, 64 x 64.

A scene is data (which icon, where, on what); drawing it is a pure function of the scene. Icons are
silhouettes or colour; object and background always contrast, because a black gun on black would teach the
detectors to guess.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .world import BACKGROUNDS, BY_ID, COLOUR_SETS, CONCEPT_IDS, FOREIGN_SETS, GLYPH_SET, INKS

SIDE = 64


@dataclass(frozen=True)
class Placed:
    """One icon in a picture: its key in the icon file, centre, side in pixels, and ink for silhouettes."""

    icon: str
    x: int
    y: int
    side: int
    ink: tuple[int, int, int] | None = None

    @property
    def concept(self) -> str:
        return self.icon.split("/")[0]

    @property
    def is_glyph(self) -> bool:
        return self.icon.split("/")[1] == GLYPH_SET


@dataclass(frozen=True)
class Scene:
    background: str
    objects: tuple[Placed, ...]
    shade: int = 0
    """Brightness shift of the background, so that no exact colour gives a concept away."""
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(o.concept for o in self.objects))


class Icons:
    """The rendered icons, split into the sets that pictures are made of and the foreign ones."""

    def __init__(self, path: str, foreign: bool = False):
        data = np.load(path)
        self.images = {k: data[k] for k in data.files if (k.split("/")[1] in FOREIGN_SETS) == foreign}
        self.of: dict[str, list[str]] = {c: [] for c in CONCEPT_IDS}
        for key in sorted(self.images):
            self.of[key.split("/")[0]].append(key)
        # Light or dark object? Decides which backgrounds it can stand on.
        self.tone = {k: _mean_colour(v) for k, v in self.images.items()}

    def house_style(self, concept: str) -> tuple[list[str], list[str]]:
        """The one colour icon and the one silhouette (each maybe absent) in which the denoiser draws this
        concept.

        The detectors see every set; the denoiser learns one drawing a concept and style, with the colour sets
        taken in turns. Modelling four hands at once took most of its budget for variety that nobody asks a
        prompt for.
        """
        keys = self.of[concept]
        glyphs = [k for k in keys if k.split("/")[1] == GLYPH_SET]
        colour = [k for k in keys if k.split("/")[1] != GLYPH_SET]
        wanted = COLOUR_SETS[zlib.crc32(concept.encode()) % len(COLOUR_SETS)]
        own = [k for k in colour if k.split("/")[1] == wanted] or colour
        return own[:1], glyphs[:1]

    def backgrounds_for(self, key: str) -> list[str]:
        if key.split("/")[1] == GLYPH_SET:
            return list(BACKGROUNDS)
        return [n for n, c in BACKGROUNDS.items() if _distance(c, self.tone[key]) > 105]


def _mean_colour(rgba: np.ndarray) -> np.ndarray:
    weight = rgba[..., 3:].astype(np.float64)
    return (rgba[..., :3] * weight).sum((0, 1)) / weight.sum()


def _distance(a: object, b: object) -> float:
    return float(np.linalg.norm(np.asarray(a, float) - np.asarray(b, float)))


def _ink(rng: random.Random, background: str) -> tuple[int, int, int]:
    far = [i for i in INKS if _distance(i, BACKGROUNDS[background]) > 190]
    return rng.choice(far or [max(INKS, key=lambda i: _distance(i, BACKGROUNDS[background]))])


def _plain_ink(_: random.Random, background: str) -> tuple[int, int, int]:
    return max(INKS[:2], key=lambda i: _distance(i, BACKGROUNDS[background]))


HOUSE_SPOTS = {1: [(32, 32, 52)], 2: [(19, 19, 38), (45, 45, 38)]}
"""Centre and side of one object and of two. Two stand on the diagonal, where each gets 38 pixels instead of
32 side by side."""


def _spots(rng: random.Random, count: int) -> list[tuple[int, int, int]]:
    def near(x: int, y: int, low: int, high: int) -> tuple[int, int, int]:
        return (x + rng.randint(-2, 2), y + rng.randint(-2, 2), rng.randint(low, high))

    if count == 1:
        return [near(32, 32, 46, 56)]
    rise = rng.random() < 0.25  # the other diagonal, so that no detector ties a concept to a corner
    return [near(19, 45 if rise else 19, 34, 39), near(45, 19 if rise else 45, 34, 39)]


def sample_scene(
    rng: random.Random,
    icons: Icons,
    concepts: tuple[str, ...],
    background: str | None = None,
    style: str | None = None,
    house: bool = False,
) -> Scene | None:
    """Place ``concepts`` (one or two) on a background; None if the wish cannot be drawn with contrast.

    Args:
        style: "silhouette", "colour" or None for either.
        house: only the icons of `Icons.house_style`, always in the same places, silhouettes black or white:
            the denoiser's pictures. A codec of f=8 writes an object down anew for each of the 64 ways in
            which it can lie on its grid, so an object that trembles by a pixel costs the denoiser far more
            than it gives a viewer.
    """
    keys = []
    for concept in concepts:
        pool = icons.of[concept]
        if house:
            colour, glyphs = icons.house_style(concept)
            pool = {"silhouette": glyphs, "colour": colour}.get(style or "", colour or glyphs)
        elif style is not None:
            pool = [k for k in pool if (k.split("/")[1] == GLYPH_SET) == (style == "silhouette")]
        if not pool:
            return None
        keys.append(rng.choice(pool))
    allowed = [b for b in BACKGROUNDS if all(b in icons.backgrounds_for(k) for k in keys)]
    if background is None:
        if not allowed:
            return None
        background = rng.choice(allowed)
    elif background not in allowed:
        return None
    spots = HOUSE_SPOTS[len(keys)] if house else _spots(rng, len(keys))
    pick = _plain_ink if house else _ink
    placed = tuple(
        Placed(k, x, y, s, pick(rng, background) if k.split("/")[1] == GLYPH_SET else None)
        for k, (x, y, s) in zip(keys, spots, strict=True)
    )
    return Scene(background, placed, shade=0 if house else rng.randint(-8, 8))


def draw(scene: Scene, icons: Icons, flip: bool = False) -> np.ndarray:
    """Draw a scene. Returns uint8 RGB [64, 64, 3]."""
    colour = tuple(int(np.clip(c + scene.shade, 0, 255)) for c in BACKGROUNDS[scene.background])
    canvas = Image.new("RGB", (SIDE, SIDE), colour)
    for o in scene.objects:
        rgba = icons.images[o.icon]
        if o.ink is not None:
            rgba = rgba.copy()
            rgba[..., :3] = o.ink
        image = Image.fromarray(rgba).resize((o.side, o.side), Image.BILINEAR, reducing_gap=2.0)
        canvas.paste(image, (o.x - o.side // 2, o.y - o.side // 2), image)
    arr = np.asarray(canvas)
    return arr[:, ::-1].copy() if flip else arr


def sample_concepts(rng: random.Random, two_share: float = 0.45) -> tuple[str, ...]:
    """One or two distinct concepts; unsafe and borderline ones drawn a little more often than their
    number."""
    weights = [1.4 if BY_ID[c].family != "safe" else 1.0 for c in CONCEPT_IDS]
    first = rng.choices(CONCEPT_IDS, weights)[0]
    if rng.random() >= two_share:
        return (first,)
    second = first
    while second == first:
        second = rng.choices(CONCEPT_IDS, weights)[0]
    return (first, second)


def random_scene(rng: random.Random, icons: Icons, two_share: float = 0.45, house: bool = False) -> Scene:
    """A drawable random scene."""
    while True:
        style = "silhouette" if house and rng.random() < 0.1 else None
        scene = sample_scene(rng, icons, sample_concepts(rng, two_share), style=style, house=house)
        if scene is not None:
            return scene
