"""Settings of the trainer that change how long a step takes and how much memory it needs, and what they come
to on a device.

What is minimised is the same with all of them: to rounding, and but for ``buckets``, which lets a step that
reads a prefix read some more pad positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field

_READ_EVERY = 20
_BUCKETS = 8


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
    working_weights: bool = Field(
        default=False,
        description="Where the precision is bf16, send bf16 copies of the linear layers' weights through the "
        "steps, instead of casting every weight at every step. Masters, gradients' sums and AdamW's moments "
        "stay fp32. Needs one process; not measured on a GPU, so off.",
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
    cache_bf16: bool = Field(
        default=False,
        description="Keep the original's outputs in bf16, half the size; what a step reads is fp32 again.",
    )
    host_cache_gb: float = Field(
        default=0.0,
        ge=0,
        description="Most of the host's memory, in GB over all processes, for outputs of the original that "
        "do not fit into cache_gb; a step's rows are copied to the device beside its work.",
    )

    def pace(self, device: torch.device, precision: torch.dtype | None, processes: int = 1) -> Pace:
        """What these settings come to.

        Args:
            device: where the encoders are trained.
            precision: the type of autocast, None = without.
            processes: that train together.
        """
        cuda = device.type == "cuda"
        return Pace(
            read_every=self.read_every or (_READ_EVERY if cuda else 1),
            buckets=self.buckets or (_BUCKETS if cuda or self.compile else 1),
            working_weights=self.working_weights and precision == torch.bfloat16,
            kept_as=torch.bfloat16 if self.cache_bf16 else None,
            host_bytes=self.host_cache_gb * 1e9 / processes,
        )
