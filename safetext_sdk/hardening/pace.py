"""Settings of the trainer that change how long a step takes and how much memory it needs, and what they come
to on a device.

What is minimised is the same with all of them: to rounding, and but for ``buckets``, which lets a step that
reads a prefix read some more pad positions.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field

_READ_EVERY = 20
_BUCKETS = 8
_HOST_GB = 16.0
_HOST_SHARE = 0.25
_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Pace:
    """The settings of one run on one device, every "by device" decided.

    ``read_every``: steps between two readings of the losses. ``buckets``: prefix lengths are multiples of it.
    ``working_weights``: whether bf16 copies of the weights go through the steps. ``kept_as``: the type that
    the original's outputs are kept in, None = as they come. ``host_bytes``: what may be kept of them in the
    host's memory.
    """

    read_every: int
    buckets: int
    working_weights: bool
    kept_as: torch.dtype | None
    host_bytes: float


class PaceSettings(BaseModel):
    """Time and memory. Where ``None`` is allowed it means: chosen by device, so that on a CPU everything is
    as it would be without the setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    micro_batch: int = Field(
        default=0,
        ge=0,
        description="Prompts, unsafe and safe together, that go through the encoders at once; 0 = found: "
        "all, halved whenever memory runs out. Fewer cost another forward pass; the training is the same.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, about a third slower.",
    )
    read_every: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Losses are read from the device every so many steps, all of them, and always before a "
        "checkpoint: reading waits for the device. A loss that is not finite is noticed then. Absent = 20 "
        "on CUDA, else 1.",
    )
    buckets: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="Steps that read a prefix read a multiple of so many positions, or all, so that few "
        "shapes come back again and again. What is read more is exact. Absent = 8 on CUDA and with "
        "``compile``, else 1.",
    )
    working_weights: bool | None = Field(
        default=None,
        description="Where the precision is bf16, send bf16 copies of the linear layers' weights through the "
        "steps, instead of casting every weight at every step. Masters, gradients' sums and AdamW's moments "
        "stay fp32. Absent = on with bf16 on CUDA in one process.",
    )
    compile: bool = Field(
        default=False,
        description="torch.compile the encoders, once for each of ``buckets``; on CUDA as CUDA graphs. Pays "
        "on long GPU runs only.",
    )
    cache_gb: float = Field(
        default=2.0,
        ge=0,
        description="Most memory of the device, in GB, for the original encoder's outputs. What does not fit "
        "goes to the host's memory (host_cache_gb), or else is recomputed each step.",
    )
    cache_bf16: bool | None = Field(
        default=None,
        description="Keep the original's outputs in bf16, half the size; what a step reads is fp32 again. "
        "Absent = with bf16 on CUDA.",
    )
    host_cache_gb: float | None = Field(
        default=None,
        ge=0,
        description="Most of the host's memory, in GB over all processes, for outputs of the original that "
        "do not fit into cache_gb; a step's rows are copied to the device beside its work. 0 with "
        "``cache_gb`` 0 computes everything again. Absent = 16, at most a quarter of the memory of machine "
        "or container, on CUDA; else 0.",
    )

    def pace(self, device: torch.device, precision: torch.dtype | None, processes: int = 1) -> Pace:
        """What these settings come to.

        Args:
            device: where the encoders are trained.
            precision: the type of autocast, None = without.
            processes: that train together.
        """
        cuda = device.type == "cuda"
        narrow = precision == torch.bfloat16
        return Pace(
            read_every=self.read_every or (_READ_EVERY if cuda else 1),
            buckets=self.buckets or (_BUCKETS if cuda or self.compile else 1),
            working_weights=narrow and _or(self.working_weights, cuda and processes == 1),
            kept_as=torch.bfloat16 if _or(self.cache_bf16, cuda and narrow) else None,
            host_bytes=self._host_bytes(cuda) / processes,
        )

    def _host_bytes(self, cuda: bool) -> float:
        if self.host_cache_gb is not None:
            return self.host_cache_gb * 1e9
        return min(_HOST_GB * 1e9, _HOST_SHARE * _memory()) if cuda else 0.0


def _or(given: bool | None, otherwise: bool) -> bool:
    return otherwise if given is None else given


def _memory() -> float:
    """Bytes of memory that this machine has, or that it leaves to this container."""
    try:
        whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 0.0
    with suppress(OSError, ValueError):  # "max": no limit
        whole = min(whole, float(int(_LIMIT.read_text(encoding="utf-8"))))
    return whole
