"""A miniature CLIP that has really learned which caption belongs to which picture, and such pictures."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from safetext_sdk.detectors.kept import Caption, JudgeContext, KeptQuestion
from safetext_sdk.policy import KeptJudgeSpec

from .detector_case import build_clip

COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 200, 30),
    "blue": (20, 30, 230),
    "yellow": (235, 225, 20),
    "white": (245, 245, 245),
    "black": (8, 8, 8),
}
SIDE = 32
CAPTIONS = tuple(Caption(f"a {a} and {b} flag", f"{a} {b}") for a, b in combinations(COLOURS, 2))
"""15 captions of as many different things."""


def picture(caption: Caption, seed: int = 0) -> Image.Image:
    """Two fields in the caption's colours; a seed decides where they meet, which one is left, and the
    grain."""
    rng = np.random.default_rng(seed)
    left, right = rng.permutation([COLOURS[name] for name in caption.group.split()])
    edge = int(rng.integers(SIDE * 3 // 8, SIDE * 5 // 8))
    pixels = np.empty((SIDE, SIDE, 3))
    pixels[:, :edge], pixels[:, edge:] = left, right
    return Image.fromarray((pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8))


def build_trained_clip(folder: Path, steps: int = 60) -> Path:
    """`build_clip`, trained with CLIP's own loss until it ranks every caption of `CAPTIONS` first for its
    picture."""
    from transformers import AutoTokenizer, CLIPModel

    build_clip(folder)
    model, tokenizer = CLIPModel.from_pretrained(folder).train(), AutoTokenizer.from_pretrained(folder)
    texts = tokenizer([c.text for c in CAPTIONS], padding=True, return_tensors="pt")
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    target = torch.arange(len(CAPTIONS))
    for step in range(steps):
        pixels = np.stack([np.asarray(picture(c, step), np.float32) for c in CAPTIONS]) / 127.5 - 1
        logits = model(pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2), **texts).logits_per_image
        loss = sum(torch.nn.functional.cross_entropy(part, target) for part in (logits, logits.T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def spec(name: str, **options: Any) -> KeptJudgeSpec:
    """One entry of ``kept_judges``."""
    return KeptJudgeSpec(name=name, options=options)


def context(seed: int = 0) -> JudgeContext:
    """A judge's context with `CAPTIONS`."""
    return JudgeContext(CAPTIONS, seed, "cpu")


def question(
    caption: Caption,
    image: Image.Image,
    *,
    original: Image.Image | None = None,
    other_seed: Image.Image | None = None,
) -> KeptQuestion:
    """A question whose original is the picture itself, unless given."""
    return KeptQuestion(caption, image, original or picture(caption), other_seed or picture(caption, seed=99))
