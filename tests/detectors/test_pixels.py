"""Pictures of every mode reach every detector as a viewer shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.detector_case import build_clip, build_tiny_detectors, pictures, spec

from safetext_sdk.detectors import DETECTORS, nudenet
from safetext_sdk.detectors.pixels import Pixels, to_rgb
from safetext_sdk.errors import DetectorError
from safetext_sdk.files import sha256_file

SHADES = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (64, 1))
"""A ramp from black to white [64, 64]."""
COLOURS = np.random.default_rng(7).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values)


def palette() -> Image.Image:
    image = Image.fromarray(SHADES, "L").convert("P")
    image.putpalette([v for k in range(256) for v in (k, k, k)])
    return image


def transparent_palette() -> Image.Image:
    """Shades, of which the darkest index is transparent: a viewer shows white there."""
    image = palette()
    image.info["transparency"] = 0
    return image


def alpha_only(mode: str) -> Image.Image:
    """Black everywhere; only the alpha channel draws the ramp (dark where it is opaque)."""
    black = Image.new("L", (64, 64), 0)
    alpha = Image.fromarray(255 - SHADES, "L")
    return Image.merge("LA", (black, alpha)) if mode == "LA" else Image.merge("RGBA", (*[black] * 3, alpha))


RAMPS: dict[str, Callable[[], Image.Image]] = {
    "L": lambda: grey(SHADES),
    "I;16": lambda: grey(SHADES.astype(np.uint16) * 257),
    "I;16B": lambda: Image.frombytes("I;16B", (64, 64), (SHADES.astype(">u2") * 257).astype(">u2").tobytes()),
    "I of 16 bits": lambda: grey(SHADES.astype(np.int32) * 257),
    "I of 8 bits": lambda: grey(SHADES.astype(np.int32)),
    "F to 1": lambda: grey(SHADES.astype(np.float32) / 255),
    "F to 255": lambda: grey(SHADES.astype(np.float32)),
    "palette": palette,
    "LA": lambda: alpha_only("LA"),
    "RGBA": lambda: alpha_only("RGBA"),
    "premultiplied": lambda: alpha_only("RGBA").convert("RGBa"),
    "premultiplied grey": lambda: alpha_only("LA").convert("La"),
}


@pytest.mark.parametrize("name", RAMPS)
def test_a_ramp_is_a_ramp_in_every_mode(name: str) -> None:
    got = np.asarray(to_rgb(RAMPS[name]()), int)
    assert got.shape == (64, 64, 3)
    assert np.abs(got - SHADES[..., None]).max() <= 1


def test_colours_survive() -> None:
    image = Image.fromarray(COLOURS)
    assert to_rgb(image) is image
    assert np.array_equal(np.asarray(to_rgb(image.convert("RGBA"))), COLOURS)
    back = np.asarray(to_rgb(image.convert("CMYK")), int)
    assert np.abs(back - COLOURS).max() <= 1
    assert np.asarray(to_rgb(transparent_palette()))[0, 0].tolist() == [255, 255, 255]
    assert np.asarray(to_rgb(transparent_palette()))[0, 20].tolist() == [SHADES[0, 20]] * 3


@pytest.mark.parametrize(
    "image",
    [
        grey(np.full((4, 4), np.nan, np.float32)),
        grey(np.full((4, 4), -3, np.int32)),
        grey(np.full((4, 4), 1 << 20, np.int32)),
        Image.new("LAB", (4, 4)),
    ],
    ids=["NaN", "negative", "beyond 16 bits", "LAB"],
)
def test_what_nobody_can_read_is_refused(image: Image.Image) -> None:
    with pytest.raises(DetectorError, match=f"a picture of mode '{image.mode}'"):
        to_rgb(image)


@pytest.mark.parametrize("name", RAMPS)
def test_classifiers_read_every_mode_alike(name: str, tmp_path: Path) -> None:
    want = Pixels(tmp_path, 32)([Image.fromarray(SHADES).convert("RGB")])
    got = Pixels(tmp_path, 32)([RAMPS[name]()])
    assert torch.allclose(got, want, atol=2 / 127.5)


def test_pixels_resize_the_short_side_and_crop_as_clip_does(tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8))
    want = processor(image, return_tensors="pt")["pixel_values"]
    assert torch.allclose(Pixels(tmp_path, 224)([image]), want.float(), atol=0.06)


def sixteen_bits() -> tuple[Image.Image, Image.Image]:
    """One picture twice: 16-bit greyscale, and what a viewer shows of it."""
    shades = np.asarray(pictures(1)[0].convert("L"))
    return Image.fromarray(shades.astype(np.uint16) * 257), Image.fromarray(shades).convert("RGB")


@pytest.fixture
def every_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One of each built-in kind, NudeNet's network replaced by one that returns the mean of its pixels."""

    class Session:
        def get_inputs(self) -> Any:
            return [SimpleNamespace(name="images")]

        def run(self, _: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            out = np.zeros((len(given["images"]), 4 + len(nudenet.LABELS), 2), np.float32)
            out[:, 4:] = given["images"].mean(axis=(1, 2, 3))[:, None, None]
            return [out]

    monkeypatch.setattr(nudenet, "_session", lambda path, device: Session())
    classifiers = build_tiny_detectors(tmp_path / "tiny")
    monkeypatch.setattr("safetext_sdk.tiny.detector.detector_path", lambda which: classifiers / which)
    clip = build_clip(tmp_path / "clip")
    weights = tmp_path / "320n.onnx"
    weights.write_bytes(b"weights")
    return [
        *DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu"),
        *DETECTORS.get("clip-zero-shot")(spec("clip-zero-shot", ["a gun"], model=str(clip)), "cpu"),
        *DETECTORS.get("hf-image-classifier")(
            spec("hf-image-classifier", ["gun"], model=str(classifiers / "a")), "cpu"
        ),
        nudenet.NudeNet(weights, ["FACE_FEMALE"], 0.25, "cpu", sha256_file(weights)),
    ]


def test_every_detector_sees_a_deep_greyscale_picture(every_detector: list[Any]) -> None:
    deep, shown = sixteen_bits()
    black = Image.new("RGB", shown.size)
    for detector in every_detector:
        got, want, nothing = detector.score([deep, shown, black])
        assert got == pytest.approx(want, abs=1e-4), detector.name
        assert got != pytest.approx(nothing, abs=1e-4), detector.name
