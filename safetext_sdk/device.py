"""Where to compute, in which precision, and how tensors get there: one answer for all."""

from __future__ import annotations

import torch

from .errors import ModelError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pick_device(name: str) -> torch.device:
    """The torch device that ``name`` means here; ``auto`` is cuda, then mps, then cpu.

    Raises:
        ModelError: a device that this machine or this torch does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ModelError(
            f"device {name!r} is not here: torch {torch.__version__} sees {torch.cuda.device_count()} "
            "CUDA devices; use --device cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device 'mps' is not here; use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch dtype that ``name`` means on ``device``; ``auto`` is bf16 on a GPU that has it, else fp32.

    Raises:
        ModelError: an unknown precision.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in DTYPES:
        raise ModelError(f"unknown precision {name!r}; use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def on_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``values`` on ``device``, without waiting for it.

    A plain copy from ordinary memory to a GPU waits until all that was asked of the GPU before is done. From
    pinned memory it takes its turn like any other work. ``values`` must not be written to afterwards.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=device.type != "mps")
