"""Pictures from a diffusers pipeline: batched, one generator a picture, resumable by content key.

A picture depends on its own prompt and seed, not on its neighbours in the batch: each has a CPU generator of
its own (equal noise on every device). A key that exists on disk is not made again; a killed run leaves no
half picture.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PILImage

from ..errors import ModelError
from .keys import digest, model_fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel

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
        cache: a folder shared by runs; a picture found there is copied, a new one is added. None: no cache.
        batch_size: pictures at once; halved by itself where memory runs out.
        workers: batches at once, each in a thread. None: the cores of the machine (at most 4) on a CPU, where
            one torch thread a batch is far faster than several threads on one batch; 1 on a GPU.
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
    ) -> None:
        self.model, self.folder, self.cache, self.batch_size = model, folder, cache, max(1, batch_size)
        self.pipe = model.pipeline()
        cores = min(
            4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        self.workers = max(1, workers or (cores if torch.device(model.device).type == "cpu" else 1))
        self._local = threading.local()
        self._stop = threading.Event()
        self.settings = Settings.of(model, settings)
        self.fingerprint = model_fingerprint(model)
        self.calls = inspect.signature(type(self.pipe).__call__).parameters
        folder.mkdir(parents=True, exist_ok=True)
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        if hasattr(self.pipe, "set_progress_bar_config"):
            self.pipe.set_progress_bar_config(disable=True)

    @property
    def guided(self) -> bool:
        """Does a negative prompt reach the denoiser at all?"""
        return "negative_prompt" in self.calls and (self.settings.guidance or 0.0) > 1.0

    def key(self, request: Request) -> str:
        """The generation key: 32 hex digits of everything that the picture depends on."""
        return digest(
            {
                "pipeline": self.fingerprint,
                "dtype": str(self.model.dtype),
                **asdict(self.settings),
                **asdict(request),
            }
        )[:32]

    def path(self, request: Request) -> Path:
        return self.folder / f"{self.key(request)}.png"

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Those without a picture yet, each once; the cache is asked first."""
        out: dict[str, Request] = {}
        for request in requests:
            path = self.path(request)
            if path.is_file():
                continue
            cached = self.cache / path.name if self.cache is not None else None
            if cached is not None and cached.is_file():
                _copy(cached, path)
                continue
            out[path.name] = request
        return list(out.values())

    def ensure(self, requests: Sequence[Request], on_done: Callable[[int], None] | None = None) -> int:
        """Make what is missing. Returns how many were made.

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

        def keep(part: Sequence[Request], images: Sequence[Image]) -> None:
            for request, image in zip(part, images, strict=True):
                path = self.path(request)
                _save(image, path)
                if self.cache is not None:
                    _copy(path, self.cache / path.name)
            if on_done is not None:
                on_done(len(part))

        if self.workers == 1 or len(parts) <= 1:
            with _quiet():
                for part in parts:
                    keep(part, self._halving(part))
            return len(todo)
        self._stop.clear()
        with _quiet(), ThreadPoolExecutor(self.workers, initializer=self._enter_thread) as pool:
            try:
                for part, images in zip(parts, pool.map(self._halving, parts), strict=True):
                    keep(part, images)
            except BaseException:  # Ctrl-C above all: do not start what waits, nor finish what runs
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return len(todo)

    def _halving(self, part: Sequence[Request]) -> list[Image]:
        """A batch, in halves where memory runs out."""
        try:
            return self.draw(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            middle = len(part) // 2
        return [*self._halving(part[:middle]), *self._halving(part[middle:])]

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
            pixels = np.asarray(pipe(**arguments).images)
        finally:
            if checker is not None:
                pipe.safety_checker = checker
        if len(pixels) != len(requests) or not np.isfinite(pixels).all():
            raise ModelError(
                "the pipeline returned too few pictures or pixels that are not numbers; try --precision fp32"
            )
        return [PILImage.fromarray(p) for p in (pixels.clip(0, 1) * 255).round().astype(np.uint8)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No line a batch about prompts that are longer than the encoder reads."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


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


def _copy(source: Path, path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.copyfile(source, part)
    part.replace(path)
