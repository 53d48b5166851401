"""Encoders in training compiled, once for each shape that comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from .trainable import Student

BACKEND: Any = "inductor"
_SHAPES = 64
"""More than there are multiples of 8 up to the longest prompt, for a step's prompts and for parts of them."""


@contextmanager
def compiled(student: Student, device: torch.device) -> Iterator[None]:
    """The encoders of ``student`` are compiled in this context: with fixed shapes, so that the compiler can
    record CUDA graphs, and with room for as many shapes as prefix lengths come to. What was compiled stays in
    torch's cache on disk."""
    mode = "reduce-overhead" if device.type == "cuda" and BACKEND == "inductor" else None
    encoders: Any = student.bundle.encoders
    trained = [e for e in encoders.values() if any(p.requires_grad for p in e.parameters())]
    for encoder in trained:
        encoder.compile(backend=BACKEND, dynamic=False, mode=mode)
    dynamo: Any = import_module("torch._dynamo.config")  # takes seconds: only where it is needed
    try:
        with dynamo.patch(recompile_limit=_SHAPES, accumulated_recompile_limit=4 * _SHAPES):
            yield
    finally:
        for encoder in trained:
            encoder._compiled_call_impl = None


def step_begins(device: torch.device) -> None:
    """Say that outputs of the step before are not read any more: CUDA graphs then write over them."""
    if device.type == "cuda":
        compiler: Any = torch.compiler
        compiler.cudagraph_mark_step_begin()


def graphs_made() -> int:
    """How many graphs this process has compiled so far."""
    counters: Any = import_module("torch._dynamo.utils").counters
    return int(counters["stats"]["unique_graphs"])
