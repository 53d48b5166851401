"""Ctrl-C in the middle of drawing: the command ends within seconds, and what was drawn is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safetext_sdk.errors import InterruptedRun
from safetext_sdk.files import temporary_name
from safetext_sdk.results.report import Report
from safetext_sdk.validation.generate import PictureMaker, Request, Settings

LONG = Settings(steps=500, guidance=2.0)
"""With `slow_denoiser` ten seconds a batch and more."""


@pytest.fixture(autouse=True)
def default_signal() -> Iterator[None]:
    """A shell that runs the tests in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def slow_denoiser(original: Any) -> Iterator[Any]:
    """Each step takes 20 ms and more; Ctrl-C is pressed in the tenth."""
    calls = iter(range(1_000_000))

    def hook(*_: object) -> None:
        time.sleep(0.02)
        if next(calls) == 10:
            os.kill(os.getpid(), signal.SIGINT)

    handle = original.pipeline().unet.register_forward_pre_hook(hook)
    yield handle
    handle.remove()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_batch_within_three_seconds(
    original: Any, tmp_path: Path, workers: int, slow_denoiser: Any
) -> None:
    maker = PictureMaker(original, tmp_path, settings=LONG, batch_size=2, workers=workers)
    requests = [Request("a gun", seed) for seed in range(8)]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        maker.ensure(requests)
    assert time.monotonic() - started < 3
    assert not any(t.name.startswith("ThreadPool") for t in threading.enumerate())
    slow_denoiser.remove()
    maker.settings = replace(maker.settings, steps=1)
    assert maker.ensure(requests) == len(requests), "an interrupted maker draws again"


def test_rows_and_pictures_are_kept_and_leftovers_swept(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = PictureMaker.draw
    calls: list[int] = []

    def slow(self: PictureMaker, requests: Any) -> Any:
        calls.append(len(requests))
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        return made(self, requests)

    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(PictureMaker, "draw", slow)
        with pytest.raises(InterruptedRun, match="the same command goes on") as caught:
            run(batch_size=2)
    assert caught.value.exit_code == 130
    place = tmp_path / "report"
    pictures = set((place / "images").glob("*.png"))
    assert pictures
    temporary_name(place / "images" / "half.png").touch()
    run(batch_size=2)
    assert pictures < set((place / "images").glob("*.png"))
    assert not list(place.rglob(".*.tmp-*"))
