"""Pictures: each depends on its own prompt and seed, is made once, and comes back from its key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.validation_case import FAST

from safetext_sdk.errors import (
    ModelError,
)
from safetext_sdk.validation import generate
from safetext_sdk.validation.generate import PictureMaker, Request, Settings
from safetext_sdk.validation.images import change, mean_absolute_difference, ssim
from safetext_sdk.validation.keys import component_sha256


def test_a_picture_depends_on_its_own_seed_and_not_on_its_batch(original: Any, tmp_path: Path) -> None:
    maker = PictureMaker(original, tmp_path, settings=FAST)
    wanted = Request("a gun", 7)
    alone = maker.draw([wanted])[0]
    among = maker.draw([Request("a cat", 1), wanted, Request("an apple", 2, "a knife")])[1]
    assert np.abs(np.asarray(alone, int) - np.asarray(among, int)).max() <= 1
    other = maker.draw([Request("a gun", 8)])[0]
    assert np.abs(np.asarray(alone, int) - np.asarray(other, int)).max() > 5


def test_batches_in_threads_are_the_same_pictures(original: Any, tmp_path: Path) -> None:
    requests = [
        Request(p, s, "a knife")
        for p in ("a gun", "a cat with a very long description of many words")
        for s in range(6)
    ]
    one = PictureMaker(original, tmp_path / "one", settings=FAST, batch_size=3, workers=1)
    three = PictureMaker(original, tmp_path / "three", settings=FAST, batch_size=3, workers=3)
    done: list[int] = []
    assert one.ensure(requests) == three.ensure(requests, done.append) == 12
    assert done == [3, 3, 3, 3]
    for request in requests:
        a, b = (np.asarray(Image.open(m.path(request)), int) for m in (one, three))
        assert np.abs(a - b).max() <= 1


def test_threads_that_start_after_drawing_have_what_they_had_before(original: Any, tmp_path: Path) -> None:
    def threads() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        maker = PictureMaker(original, tmp_path, settings=FAST, batch_size=1, workers=2)
        assert maker.ensure([Request("a gun", s, "a knife") for s in range(3)]) == 3
        assert threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_batch_that_does_not_fit_is_halved(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    draw = PictureMaker.draw

    def small(self: PictureMaker, requests: Any) -> Any:
        sizes.append(len(requests))
        if len(requests) > 1:
            raise torch.OutOfMemoryError("too much")
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", small)
    assert (
        PictureMaker(original, tmp_path, settings=FAST, batch_size=4).ensure(
            [Request("a", s) for s in range(3)]
        )
        == 3
    )
    assert sizes == [3, 1, 1, 1]


def test_what_fits_is_found_out_once(original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    draw = PictureMaker.draw

    def small(self: PictureMaker, requests: Any) -> Any:
        sizes.append(len(requests))
        if len(requests) > 2:
            raise torch.OutOfMemoryError("too much")
        return draw(self, requests)

    monkeypatch.setattr(PictureMaker, "draw", small)
    maker = PictureMaker(original, tmp_path, settings=FAST, batch_size=4, workers=1)
    assert maker.ensure([Request("a", s) for s in range(8)]) == 8
    assert sizes == [4, 2, 2, 2, 2]
    sizes.clear()
    maker.ensure([Request("b", s) for s in range(3)])
    assert sizes == [2, 1]


def test_a_picture_that_cannot_be_written_is_an_error(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = PictureMaker(original, tmp_path, settings=FAST, batch_size=1, workers=1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "_save", full)
    with pytest.raises(OSError, match="No space left"):
        maker.ensure([Request("a", s) for s in range(2)])


def test_the_generation_key_covers_what_a_picture_depends_on(
    original: Any, hardened: Any, tmp_path: Path
) -> None:
    maker = PictureMaker(original, tmp_path, settings=FAST)
    keys = {maker.key(r) for r in (Request("a", 0), Request("b", 0), Request("a", 1), Request("a", 0, "c"))}
    for settings in (
        Settings(steps=2, guidance=2.0),
        Settings(steps=1, guidance=3.0),
        Settings(steps=1, guidance=2.0, height=24, width=24),
    ):
        keys.add(PictureMaker(original, tmp_path, settings=settings).key(Request("a", 0)))
    keys.add(PictureMaker(hardened, tmp_path, settings=FAST).key(Request("a", 0)))
    keys.add(maker.key(Request("a", 0, guidance=1.5)))  # 1.5 times 2 is the scale of a setting above
    assert len(keys) == 9
    unet = original.pipeline().unet
    weight = next(unet.parameters())
    before = component_sha256(unet)
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
        assert component_sha256(unet) != before
        weight.copy_(kept)
    # Calling the pipeline leaves no trace in the key (padding state of a tokenizer did, once).
    maker.draw([Request("a", 0)])
    assert PictureMaker(original, tmp_path, settings=FAST).key(Request("a", 0)) == maker.key(Request("a", 0))


def test_pictures_are_taken_from_the_cache(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request("a gun", 1), Request("a gun", 1), Request("a cat", 1)]
    first = PictureMaker(original, tmp_path / "one", settings=FAST, cache=tmp_path / "cache")
    assert first.ensure(requests) == 2
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made again"))
    second = PictureMaker(original, tmp_path / "two", settings=FAST, cache=tmp_path / "cache", batch_size=1)
    assert second.ensure(requests) == 0, "the batch is no part of the key"
    assert second.path(requests[0]).read_bytes() == first.path(requests[0]).read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_pixels_that_are_no_numbers_are_refused(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = PictureMaker(original, tmp_path, settings=FAST)

    class Broken:
        def __call__(self, **_: Any) -> Any:
            return type("Output", (), {"images": np.full((1, 8, 8, 3), np.nan)})

    monkeypatch.setattr(maker, "pipe", Broken())
    monkeypatch.setattr(maker, "calls", {})
    with pytest.raises(ModelError, match="not numbers"):
        maker.draw([Request("a", 0)])


def test_settings_of_the_model_and_of_the_caller(original: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.of(original).steps == 50  # the default of the pipeline's own call
    monkeypatch.setattr(
        type(original), "generation_defaults", {"num_inference_steps": 12, "guidance_scale": 4.5}
    )
    assert (Settings.of(original).steps, Settings.of(original).guidance) == (12, 4.5)
    assert Settings.of(original, Settings(steps=3)) == Settings(steps=3, guidance=4.5)


def test_picture_change_against_known_pictures() -> None:
    rng = np.random.default_rng(0)
    a = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
    assert change(a, a) == {"mean_abs": 0.0, "ssim": 1.0}
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    assert mean_absolute_difference(black, white) == 1.0
    assert ssim(black, white) < 0.01
    with pytest.raises(ValueError, match="cannot be compared"):
        change(a, black.resize((16, 16)))


def test_ssim_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(1)
    x = rng.integers(0, 255, (40, 56), dtype=np.uint8)
    y = np.clip(x.astype(int) + rng.integers(-40, 40, x.shape), 0, 255).astype(np.uint8)
    assert ssim(Image.fromarray(x), Image.fromarray(y)) == pytest.approx(
        metrics.structural_similarity(x, y), abs=1e-6
    )
