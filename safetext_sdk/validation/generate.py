"""Pictures from a diffusers pipeline: batched, one generator a picture, resumable by content key.

A picture depends on its own prompt and seed, not on its neighbours in the batch: each has a CPU generator of
its own (equal noise on every device). A key that exists on disk is not made again; a killed run leaves no
half picture.
"""

from __future__ import annotations

import copy
import inspect
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PILImage

from ..errors import ModelError
from ..models.pipelines import denoiser_name, pictures_of
from ..quiet import quiet_pipelines
from .keys import digest, model_fingerprint
from .picture_cache import PictureCache, drawn_by
from .text_projection import text_projected_once

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel

SAVED_LATER = 2
"""Batches that may wait to be written while the next is drawn: no more pile up in memory."""

_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance"}


@dataclass(frozen=True)
class Settings:
    """How pictures are made. None means the pipeline's own default."""

    steps: int | None = None
    guidance: float | None = None
    height: int | None = None
    width: int | None = None

    @classmethod
    def of(cls, model: TextToImageModel, given: Settings | None = None) -> Settings:
        """What the caller gave, else the model's ``generation_defaults``, else the defaults of its pipeline's
        call."""
        out: dict[str, Any] = {}
        call = inspect.signature(type(model.pipeline()).__call__).parameters
        for name in ("num_inference_steps", "guidance_scale", "height", "width"):
            default = call[name].default if name in call else None
            out[_NAMES.get(name, name)] = None if default is inspect.Parameter.empty else default
        declared: Mapping[str, Any] = getattr(model, "generation_defaults", None) or {}
        out.update({_NAMES.get(k, k): v for k, v in declared.items() if _NAMES.get(k, k) in out})
        out.update({k: v for k, v in asdict(given or cls()).items() if v is not None})
        return cls(**out)


@dataclass(frozen=True)
class Request:
    """One picture to make."""

    prompt: str
    seed: int
    negative_prompt: str = ""
    guidance: float = 1.0
    """How often the guidance of the settings."""


class _Stopped(Exception):
    """Ends a batch in a thread when another thread was interrupted; never leaves `PictureMaker.ensure`."""


class PictureMaker:
    """Makes and keeps the pictures of one model.

    Args:
        folder: where pictures lie, ``<key>.png``.
        cache: a folder shared by runs, see `picture_cache`; a picture found there is copied, a new one is
            added. None: no cache.
        batch_size: pictures at once; halved by itself where memory runs out, and so for all that follow.
        workers: batches at once, each in a thread. None: the cores of the machine (at most 4) on a CPU, where
            one torch thread a batch is far faster than several threads on one batch; 1 on a GPU.
        processes: that share the cores of the machine.
    """

    def __init__(
        self,
        model: TextToImageModel,
        folder: Path,
        *,
        settings: Settings | None = None,
        cache: Path | None = None,
        batch_size: int = 32,
        workers: int | None = None,
        processes: int = 1,
    ) -> None:
        self.model, self.folder, self.batch_size = model, folder, max(1, batch_size)
        self.cache = PictureCache(cache) if cache is not None else None
        self.place = drawn_by(_kind(torch.device(model.device)))
        self.pipe = model.pipeline()
        cores = min(
            4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        cores = max(1, cores // processes)
        self.workers = max(1, workers or (cores if torch.device(model.device).type == "cpu" else 1))
        self._local = threading.local()
        self._stop = threading.Event()
        self.settings = Settings.of(model, settings)
        self.fingerprint = model_fingerprint(model)
        self.calls = inspect.signature(type(self.pipe).__call__).parameters
        folder.mkdir(parents=True, exist_ok=True)
        if hasattr(self.pipe, "set_progress_bar_config"):
            self.pipe.set_progress_bar_config(disable=True)

    @property
    def guided(self) -> bool:
        """Does a negative prompt reach the denoiser at all?"""
        return "negative_prompt" in self.calls and (self.settings.guidance or 0.0) > 1.0

    @property
    def pixels(self) -> int | None:
        """Of one picture; None where neither settings nor pipeline say it."""
        if self.settings.height is not None and self.settings.width is not None:
            return self.settings.height * self.settings.width
        denoiser = getattr(self.pipe, denoiser_name(self.pipe), None)
        side, scale = (
            getattr(getattr(denoiser, "config", None), "sample_size", None),
            getattr(self.pipe, "vae_scale_factor", None),
        )
        return (side * scale) ** 2 if isinstance(side, int) and isinstance(scale, int) else None

    def key(self, request: Request) -> str:
        """The generation key: 32 hex digits of everything that the picture depends on."""
        asked = asdict(request)
        times = asked.pop("guidance")  # not the scale, which the settings have under the same name
        return digest(
            {
                "pipeline": self.fingerprint,
                "dtype": str(self.model.dtype),
                **asdict(self.settings),
                **asked,
                **({} if times == 1.0 else {"guidance_times": times}),
            }
        )[:32]

    def path(self, request: Request) -> Path:
        return self.folder / f"{self.key(request)}.png"

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Those without a picture yet, each once; the cache is asked first."""
        out: dict[str, Request] = {}
        for request in requests:
            path = self.path(request)
            if path.name in out or path.is_file():
                continue
            if self.cache is not None and self.cache.take(self.place, path.stem, path):
                continue
            out[path.name] = request
        return list(out.values())

    def ensure(self, requests: Sequence[Request], on_done: Callable[[int], None] | None = None) -> int:
        """Make what is missing. Returns how many were made. Pictures are written while the next are drawn.

        Args:
            on_done: called after each batch with the number of pictures it made.
        """
        todo = self.missing(requests)
        parts = [  # guidance is one number a call
            alike[i : i + self.batch_size]
            for guidance in dict.fromkeys(request.guidance for request in todo)
            for alike in [[request for request in todo if request.guidance == guidance]]
            for i in range(0, len(alike), self.batch_size)
        ]
        self._make(parts, on_done, len(parts) > 1)
        return len(todo)

    def ensure_batches(self, batches: Sequence[Sequence[Request]], threads: bool | None = None) -> int:
        """Make what is missing of batches that somebody else has cut, each of one guidance.

        A batch that lacks a picture is drawn whole, so that its pictures do not depend on which ones were
        there; those stay as they are. Returns how many pictures were drawn.

        Args:
            threads: each batch in a thread of its own, where this maker has several; None: if there are
                several batches.
        """
        lacking = {self.path(r).name for r in self.missing([r for part in batches for r in part])}
        parts = [part for part in batches if any(self.path(r).name in lacking for r in part)]
        self._make(parts, None, len(batches) > 1 if threads is None else threads)
        return sum(map(len, parts))

    def _make(
        self, parts: Sequence[Sequence[Request]], on_done: Callable[[int], None] | None, threads: bool
    ) -> None:
        """Draw batches, and write each while the next are drawn.

        Args:
            threads: each batch in a thread of its own, where this maker has several.
        """

        def settle(waiting: deque[tuple[int, Future[None]]], most: int) -> None:
            """Wait until at most ``most`` batches are not written yet."""
            while waiting and (len(waiting) > most or waiting[0][1].done()):
                made, written = waiting.popleft()
                written.result()
                if on_done is not None:
                    on_done(made)

        denoiser = getattr(self.pipe, denoiser_name(self.pipe), None)
        with (
            quiet_pipelines(),
            text_projected_once(denoiser, self.pixels),
            ThreadPoolExecutor(1, "pictures") as writer,
        ):
            waiting: deque[tuple[int, Future[None]]] = deque()
            for part, images in self._drawn(parts, threads):
                waiting.append((len(part), writer.submit(self._keep, part, images)))
                settle(waiting, SAVED_LATER)
            settle(waiting, 0)

    def _drawn(
        self, parts: Sequence[Sequence[Request]], threads: bool
    ) -> Iterator[tuple[Sequence[Request], list[Image]]]:
        """Every batch with its pictures, in order."""
        if self.workers == 1 or not threads:
            yield from ((part, self._fitting(part)) for part in parts)
            return
        self._stop.clear()
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(self.workers, initializer=self._enter_thread) as pool:
                try:
                    yield from zip(parts, pool.map(self._fitting, parts), strict=True)
                except BaseException:  # Ctrl-C above all: do not start what waits, nor finish what runs
                    self._stop.set()
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        finally:
            torch.set_num_threads(before)  # what a pool's thread set is what later threads of the process get

    def _keep(self, part: Sequence[Request], images: Sequence[Image]) -> None:
        """Write a batch."""
        for request, image in zip(part, images, strict=True):
            path = self.path(request)
            if path.is_file():
                continue
            _save(image, path)
            if self.cache is not None:
                self.cache.put(self.place, path.stem, path)

    def _fitting(self, part: Sequence[Request]) -> list[Image]:
        """A batch, in halves where memory runs out; what was found out holds for all later ones."""
        size = self.batch_size  # another thread may lower it meanwhile
        if len(part) > size:
            return [image for i in range(0, len(part), size) for image in self._fitting(part[i : i + size])]
        try:
            return self.draw(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            self.batch_size = min(self.batch_size, len(part) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # blocks of the size that did not fit
        return self._fitting(part)

    def _enter_thread(self) -> None:
        """A pipeline for this thread: the same modules, but a scheduler and tokenizers of its own (both keep
        state between calls)."""
        torch.set_num_threads(1)
        pipe = copy.copy(self.pipe)
        for name, component in self.pipe.components.items():
            if name.startswith(("scheduler", "tokenizer")) and component is not None:
                setattr(pipe, name, copy.deepcopy(component))
        self._local.pipe = pipe

    def _between_steps(self, pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Called by the pipeline after a denoising step: a thread cannot be interrupted, it has to look."""
        if self._stop.is_set():
            raise _Stopped
        return tensors

    @torch.no_grad()
    def draw(self, requests: Sequence[Request]) -> list[Image]:
        """Run the pipeline once over a batch of one guidance.

        Raises:
            ModelError: the pipeline returned pixels that are not finite (half precision overflow reads as a
                black picture).
        """
        pipe = getattr(self._local, "pipe", self.pipe)
        arguments: dict[str, Any] = {
            "prompt": [r.prompt for r in requests],
            "generator": [torch.Generator("cpu").manual_seed(r.seed) for r in requests],
            "output_type": "np",
        }
        names = {
            "num_inference_steps": "steps",
            "guidance_scale": "guidance",
            "height": "height",
            "width": "width",
        }
        values = asdict(self.settings)
        arguments.update(
            {
                name: values[short]
                for name, short in names.items()
                if name in self.calls and values[short] is not None
            }
        )
        if "guidance_scale" in arguments:
            arguments["guidance_scale"] *= requests[0].guidance
        if "use_resolution_binning" in self.calls and {"height", "width"} <= arguments.keys():
            arguments["use_resolution_binning"] = False  # as large as asked, not the next size of a list
        if "callback_on_step_end" in self.calls:
            arguments["callback_on_step_end"] = self._between_steps
        if any(r.negative_prompt for r in requests):
            if "negative_prompt" not in self.calls:
                raise ModelError(f"{type(pipe).__name__} takes no negative prompt")
            arguments["negative_prompt"] = [r.negative_prompt for r in requests]
        checker = getattr(pipe, "safety_checker", None)
        if (
            checker is not None
        ):  # it blackens pictures: the encoder is on trial here, not the filter behind it
            pipe.safety_checker = None
        try:
            pixels = np.asarray(pictures_of(pipe(**arguments)))
        finally:
            if checker is not None:
                pipe.safety_checker = checker
        if len(pixels) != len(requests) or not np.isfinite(pixels).all():
            raise ModelError(
                "the pipeline returned too few pictures or pixels that are not numbers; try --precision fp32"
            )
        return [PILImage.fromarray(p) for p in (pixels.clip(0, 1) * 255).round().astype(np.uint8)]


def open_picture(path: Path) -> Image:
    """A picture as RGB, fully read.

    Raises:
        ModelError: the file is damaged or gone.
    """
    try:
        with PILImage.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise ModelError(f"the picture {path} cannot be read ({error}); delete it and run again") from error


def _save(image: Image, path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    image.save(part, format="PNG")
    part.replace(path)


def _kind(device: torch.device) -> str:
    """A device as far as it changes floats: its type, and the name of the card."""
    if device.type != "cuda":
        return device.type
    return "-".join(torch.cuda.get_device_name(device).replace("/", " ").split())
