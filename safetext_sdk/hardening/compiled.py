"""Encoders in training compiled, once for each shape that comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from .trainable import Student

BACKEND: Any = "inductor"
_SHAPES = 64
"""More than there are multiples of 8 up to the longest prompt, for a step's prompts and for parts of them."""


@dataclass(frozen=True)
class Compiled:
    """Encoders that are compiled when they are called; ``device``: where they are."""

    encoders: tuple[Any, ...]
    device: torch.device

    def choose(self, whole: bool) -> None:
        """As CUDA graphs where a step's prompts go through at once (``whole``) on such a device, else by
        kernels. Recorded graphs reuse the memory of their outputs, and gradients are outputs: those of
        several parts of a step would not add up (pytorch issue 96693)."""
        graphs = whole and self.device.type == "cuda" and BACKEND == "inductor"
        for encoder in self.encoders:
            encoder.compile(backend=BACKEND, dynamic=False, mode="reduce-overhead" if graphs else None)

    def step_begins(self) -> None:
        """Say that outputs of the step before are not read any more: CUDA graphs then write over them."""
        if self.device.type == "cuda":
            compiler: Any = torch.compiler
            compiler.cudagraph_mark_step_begin()


@contextmanager
def compiled(student: Student, device: torch.device) -> Iterator[Compiled]:
    """The encoders of ``student`` are compiled in this context: with fixed shapes, so that the compiler can
    record CUDA graphs, and with room for as many shapes as prefix lengths come to. What was compiled stays in
    torch's cache on disk."""
    encoders: Any = student.bundle.encoders
    trained = [e for e in encoders.values() if any(p.requires_grad for p in e.parameters())]
    dynamo: Any = import_module("torch._dynamo.config")  # takes seconds: only where it is needed
    try:
        with dynamo.patch(recompile_limit=_SHAPES, accumulated_recompile_limit=4 * _SHAPES):
            yield Compiled(tuple(trained), device)
    finally:
        for encoder in trained:
            encoder._compiled_call_impl = None


def graphs_made() -> int:
    """How many graphs this process has compiled so far."""
    counters: Any = import_module("torch._dynamo.utils").counters
    return int(counters["stats"]["unique_graphs"])
