"""Renders the icons of the npm packages to RGBA arrays, once, into a cache file that is never committed."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from .world import COLOUR_SETS, CONCEPTS, FOREIGN_SETS, GLYPH_SET

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "game-icons": "@iconify-json/game-icons@1.2.4",
    "emojione": "@iconify-json/emojione@1.2.3",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
}
SIZE = 96
"""Side of a rendered icon in pixels; pictures are 64 px, so that placing always scales down."""

_FOREIGN_NAMES = {  # the two foreign sets name some things differently
    "dagger": "daggerknife",
    "soccer-ball": "soccerball",
    "red-apple": "apple",
    "alarm-clock": "alarmclock",
    "birthday-cake": "birthdaycake",
    "cat-face": "cat",
    "dog-face": "dog",
    "tropical-fish": "tropicalfish",
    "crescent-moon": "crescentmoon",
    "deciduous-tree": "deciduoustree",
    "light-bulb": "lightbulb",
    "t-shirt": "tshirt",
    "top-hat": "tophat",
    "sunglasses": "darksunglasses",
    "teddy-bear": "teddybear",
    "wrapped-gift": "wrappedpresent",
    "closed-book": "closedbook",
    "jack-o-lantern": "jackolantern",
    "hot-beverage": "hotbeverage",
    "rabbit-face": "rabbit",
    "scissors": "blackscissors",
}


def install(folder: Path) -> None:
    """Fetch the pinned icon packages from npm into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"private": true}')
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", *PACKAGES.values()], cwd=folder, check=True
    )


def _load_set(folder: Path, name: str) -> dict:
    return json.loads((folder / "node_modules" / "@iconify-json" / name / "icons.json").read_text())


def _svg(data: dict, name: str, colour: str = "#000") -> str | None:
    while name not in data["icons"]:
        alias = data.get("aliases", {}).get(name)
        if alias is None:
            return None
        name = alias["parent"]
    icon = data["icons"][name]
    w, h = icon.get("width", data.get("width", 16)), icon.get("height", data.get("height", 16))
    left, top = icon.get("left", 0), icon.get("top", 0)
    body = icon["body"].replace("currentColor", colour)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{left} {top} {w} {h}">{body}</svg>'


def _raster(svg: str) -> np.ndarray:
    """Render, crop to the ink and fit into a square: the same object has one size in every set."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=192, height=192))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 if a > 16 else 0).getbbox()
    image = image.crop(box)
    scale = (SIZE - 2) / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.LANCZOS
    )
    square = Image.new("RGBA", (SIZE, SIZE))
    square.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(square)


def _sugar(skull: np.ndarray) -> np.ndarray:
    """A sugar skull: a pastel skull with painted flowers, drawn over the set's own skull."""
    from PIL import ImageDraw

    image = Image.fromarray(skull).copy()
    arr = np.asarray(image).astype(np.float32).copy()
    arr[..., :3] = arr[..., :3] * np.array([1.0, 0.72, 0.86]) + np.array([0, 0, 6.0])
    image = Image.fromarray(arr.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y, r, petal in (
        (48, 16, 9, (40, 150, 220)),
        (24, 62, 6, (250, 150, 30)),
        (72, 62, 6, (250, 150, 30)),
        (28, 22, 5, (60, 180, 90)),
        (68, 22, 5, (60, 180, 90)),
    ):
        for dx, dy in ((0, -1), (1, 0), (0, 1), (-1, 0)):
            draw.ellipse(
                (x + dx * r - r * 0.7, y + dy * r - r * 0.7, x + dx * r + r * 0.7, y + dy * r + r * 0.7),
                fill=(*petal, 255),
            )
        draw.ellipse((x - r * 0.5, y - r * 0.5, x + r * 0.5, y + r * 0.5), fill=(255, 230, 90, 255))
    return np.asarray(image)


def render_all(folder: Path, out: Path) -> dict[str, np.ndarray]:
    """Render every icon of the world. Keys are ``concept/set/name``; values uint8 RGBA [96, 96, 4]."""
    sets = {s: _load_set(folder, s) for s in (*COLOUR_SETS, GLYPH_SET, *FOREIGN_SETS)}
    icons: dict[str, np.ndarray] = {}
    missing: list[str] = []
    for concept in CONCEPTS:
        for name in concept.emoji:
            for s in (*COLOUR_SETS, *FOREIGN_SETS):
                if name == "@sugar":
                    svg = _svg(sets[s], "skull")
                    if svg and s != "fxemoji":
                        icons[f"{concept.id}/{s}/sugar-skull"] = _sugar(_raster(svg))
                    continue
                svg = _svg(sets[s], name) or (
                    _svg(sets[s], _FOREIGN_NAMES.get(name, name)) if s in FOREIGN_SETS else None
                )
                if svg is None:
                    if s in COLOUR_SETS:
                        missing.append(f"{concept.id}: {s}:{name}")
                    continue
                icons[f"{concept.id}/{s}/{name}"] = _raster(svg)
        for name in concept.glyph:
            tint, _, plain = name.rpartition(":")
            svg = _svg(sets[GLYPH_SET], plain, "#d11f2a" if tint else "#000")
            if svg is None:
                missing.append(f"{concept.id}: {GLYPH_SET}:{plain}")
                continue
            # A tinted glyph keeps its colour, so it counts as a colour icon for the renderer.
            icons[f"{concept.id}/{'tinted' if tint else GLYPH_SET}/{plain}"] = _raster(svg)
    if missing:
        print("missing icons:", *missing, sep="\n  ")
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **icons)
    return icons
