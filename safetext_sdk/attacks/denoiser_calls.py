"""What a denoiser is given while its pipeline makes pictures, kept so that it can be asked again with other
conditioning.

This is the one adapter to denoisers, and it names no family: the pipeline itself is run, its calls of the
denoiser are recorded, and the arguments that hold the conditioning are found by comparing. So a U-Net, SDXL's
added conditions, the transformers of Stable Diffusion 3 and FLUX, and a third party's are all asked in their
own way, timesteps and guidance as the pipeline passes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.families import Conditioning
from ..models.model import TextToImageModel
from ..quiet import quiet_pipelines

Path = tuple[str, ...]
"""Name of an argument; two names for an entry of a mapping."""
Leaves = dict[Path, Any]
AT_ONCE = 8
"""Pictures that the pipeline makes together while its calls are recorded."""
TOLERANCE = 5e-2
"""Relative difference up to which an argument is the conditioning: bfloat16 and batches of other
sizes round otherwise; two prompts differ by far more."""


class _Stop(Exception):
    """Ends a pipeline at its first call of the denoiser."""


@dataclass(frozen=True)
class DenoiserCalls:
    """Calls at T steps of the pipeline's runs from n prompts.

    Attributes:
        denoiser: the module.
        rows: arguments with a value a picture [n, T, ...].
        fixed: arguments that are the same for all.
        slots: tensor of the conditioning -> the argument that it is given as.
        half: whether it runs in bfloat16 where the device is a GPU.
    """

    denoiser: nn.Module
    rows: Mapping[Path, Tensor]
    fixed: Mapping[Path, Any]
    slots: Mapping[str, Path]
    half: bool = True

    def predict(self, prompts: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """What the denoiser predicts for other conditioning; differentiable in it.

        Args:
            prompts: whose pictures' latents [r]; times: which of the T steps [t].
            conditioning: r rows.
        Returns:
            [r, t, ...] in at least single precision.
        """
        count = len(times)
        arguments: dict[str, Any] = {}
        given = {path: value[prompts][:, times].flatten(0, 1) for path, value in self.rows.items()}
        for name, path in self.slots.items():
            tensor = conditioning.tensors[name]
            given[path] = tensor.unsqueeze(1).expand(-1, count, *tensor.shape[1:]).flatten(0, 1)
        for path, value in {**self.fixed, **given}.items():
            place = arguments
            for name in path[:-1]:
                place = place.setdefault(name, {})
            place[path[-1]] = value
        device = next(iter(given.values())).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half and device.type == "cuda"):
            answer = self.denoiser(**arguments)
        said: Tensor = answer[0]
        return (said if said.dtype == torch.float64 else said.float()).reshape(
            len(prompts), count, *said.shape[1:]
        )


def record(
    model: TextToImageModel, prompts: Sequence[str], *, seed: int, times: int, half: bool = True
) -> DenoiserCalls:
    """Run the model's pipeline on n prompts and keep ``times`` of its steps, evenly spread.

    Args:
        seed: of every picture.
        times: steps kept; the run has the model's own number of steps, or as many as that where it is more.

    Raises:
        ModelError: no denoiser, or the conditioning is not among its arguments as the encoders make it.
    """
    denoiser = denoiser_of(model)
    one, two = _first_calls(model, denoiser, prompts[0])
    # What has a value a picture grows with the number of prompts.
    sizes = {path: len(v) for path, v in one.items() if isinstance(v, Tensor) and v.ndim}
    per_picture = frozenset(path for path, size in sizes.items() if len(two[path]) == 2 * size)
    parts = [
        _Recorded.of(model, denoiser, list(prompts[i : i + AT_ONCE]), seed, times, per_picture)
        for i in range(0, len(prompts), AT_ONCE)
    ]
    rows = {path: torch.cat([part.rows[path] for part in parts]) for path in parts[0].rows}
    return DenoiserCalls(denoiser, rows, parts[0].fixed, parts[0].slots, half)


def why_not(model: TextToImageModel) -> str | None:
    """Why this model's denoiser cannot be asked for its predictions; None if it can."""
    prompt = "a picture"
    try:
        _slots(model, _first_calls(model, denoiser_of(model), prompt)[0], [prompt])
    except ModelError as error:
        return str(error)
    return None


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """While it lasts, no gradient is kept for the module's own parameters: less memory, the same result."""
    changed = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in changed:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class _Recorded:
    """The calls of one batch."""

    rows: dict[Path, Tensor]
    fixed: dict[Path, Any]
    slots: dict[str, Path]

    @classmethod
    def of(
        cls,
        model: TextToImageModel,
        denoiser: nn.Module,
        prompts: list[str],
        seed: int,
        times: int,
        per_picture: frozenset[Path],
    ) -> _Recorded:
        calls: list[Leaves] = []
        with _watched(denoiser, calls.append):
            _run(model.pipeline(), model, prompts, seed, times)
        at = torch.linspace(0, len(calls) - 1, min(times, len(calls))).round().long().tolist()
        calls = [calls[i] for i in at]
        slots, side, sides = _slots(model, calls[0], prompts)
        rows: dict[Path, Tensor] = {}
        fixed: dict[Path, Any] = {}
        for path, value in calls[0].items():
            every = [call[path] for call in calls]
            if path in slots.values():
                continue
            if path in per_picture:
                rows[path] = torch.stack([v.chunk(sides)[side] for v in every], 1)
            elif isinstance(value, Tensor) and value.numel() == 1:  # a timestep for the whole batch
                ones = [v.reshape(()).to(model.device).expand(len(prompts)) for v in every]
                rows[path] = torch.stack(ones, 1)
            elif all(_same(v, value) for v in every):
                fixed[path] = value
            else:
                raise ModelError(
                    f"argument {'.'.join(path)} of the denoiser of {model.id} changes by the step"
                )
        return cls(rows, fixed, slots)


def _run(pipe: Any, model: TextToImageModel, prompts: list[str], seed: int, times: int) -> None:
    """The pipeline as users run it, up to the latents."""
    known = inspect.signature(type(pipe).__call__).parameters
    given = {k: v for k, v in model.generation_defaults.items() if k in known}
    default = known["num_inference_steps"].default if "num_inference_steps" in known else 0
    given["num_inference_steps"] = max(int(given.get("num_inference_steps", default)), times)
    noise = [torch.Generator("cpu").manual_seed(seed) for _ in prompts]
    with torch.no_grad(), quiet_pipelines():
        pipe(prompt=prompts, generator=noise, output_type="latent", **given)


@contextmanager
def _watched(denoiser: nn.Module, tell: Any) -> Iterator[None]:
    """While it lasts, ``tell`` gets the arguments of every call of the denoiser."""
    signature = inspect.signature(denoiser.forward)

    def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
        leaves: Leaves = {}
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if isinstance(value, Mapping):
                leaves |= {(name, key): inner for key, inner in value.items()}
            else:
                leaves[name,] = value
        leaves["return_dict",] = False
        tell({path: v.detach() if isinstance(v, Tensor) else v for path, v in leaves.items()})

    handle = denoiser.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def denoiser_of(model: TextToImageModel) -> nn.Module:
    """The denoiser that a model's pipeline calls.

    Raises:
        ModelError: it calls none that is known.
    """
    pipe = model.pipeline()
    found = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(found, nn.Module):
        raise ModelError(f"{model.id} has no denoiser that can be asked for its predictions")
    return found


def _first_calls(model: TextToImageModel, denoiser: nn.Module, prompt: str) -> list[Leaves]:
    """The first call of a run of one picture, and of a run of two."""
    first: list[Leaves] = []

    def stop(leaves: Leaves) -> None:
        first.append(leaves)
        raise _Stop

    for count in (1, 2):
        with _watched(denoiser, stop):
            try:
                _run(model.pipeline(), model, [prompt] * count, 0, 1)
            except _Stop:
                continue
            raise ModelError(f"the pipeline of {model.id} does not call its denoiser")
    return first


def _slots(model: TextToImageModel, call: Leaves, prompts: list[str]) -> tuple[dict[str, Path], int, int]:
    """Where the conditioning stands among the arguments, in which part of the batch, and of how many:
    guidance puts the negative side into the same call."""
    slots: dict[str, Path] = {}
    side, sides = 0, 1
    for name, want in model.encode(prompts).tensors.items():
        for path, value in call.items():
            if not isinstance(value, Tensor) or value.shape[1:] != want.shape[1:] or len(value) % len(want):
                continue
            parts = torch.split(value.float(), len(want))
            gaps = [float((part - want.float()).norm() / want.float().norm()) for part in parts]
            if min(gaps) < TOLERANCE:
                slots[name], side, sides = path, gaps.index(min(gaps)), len(parts)
                break
        else:
            raise ModelError(
                f"the denoiser of {model.id} is not given {name} as the encoders make it, so its predictions "
                "cannot be attacked"
            )
    return slots, side, sides


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return bool(one is other or one == other)
