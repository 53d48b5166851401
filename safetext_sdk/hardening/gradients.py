"""Gradients of a step whose prompts need not fit into memory at once.

The loss is always taken over the whole step, so what is minimised does not depend on the machine. Where fewer
prompts go through at once, the outputs are computed first, without gradients; the loss gives the gradient at
each of them; then the prompts go through again, part by part, and carry it on to the weights (gradient
caching, Gao et al. 2021, arXiv 2101.06983, section 3.2). That holds for any loss, also for one that compares
the prompts of a step with one another, and costs one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..methods.batch import StepInputs
from ..models.families import Pieces, Tokens

Loss = Callable[[Pieces], dict[str, Tensor]]


def _nobody() -> None:
    pass


def backward(
    module: nn.Module,
    inputs: StepInputs,
    loss: Loss,
    micro: int,
    accelerator: Any,
    collect: Callable[[], None] = _nobody,
) -> dict[str, Tensor]:
    """Add the gradients of one step to the weights of ``module``.

    Args:
        module: tokens and shifts to pieces, as `trainable.Student`.
        inputs: the step's prompts.
        loss: pieces of all of them (unsafe, safe, extra) to the named parts of the loss.
        micro: prompts that go through at once.
        accelerator: of the ``accelerate`` package.
        collect: called whenever prompts have gone through and their gradients are there.

    Returns:
        The parts of the loss, on the device.
    """
    tokens = joined(inputs.unsafe, inputs.safe, inputs.extra)
    count = len(next(iter(next(iter(tokens.values())).values())))
    shift = {name: _padded(delta, count) for name, delta in inputs.shift.items()}
    if count <= micro:
        with accelerator.autocast():
            pieces: Pieces = module(tokens, shift)
        parts = loss(pieces)
        accelerator.backward(parts["loss"])
        collect()
        return parts
    chunks = [slice(int(i[0]), int(i[-1]) + 1) for i in torch.arange(count).tensor_split(-(-count // micro))]
    leaves = _outputs(module, tokens, shift, chunks, accelerator)
    parts = loss(leaves)
    accelerator.backward(parts["loss"])
    read = [name for name, leaf in leaves.items() if leaf.grad is not None]
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with _nothing() if last else accelerator.no_sync(module):
            pieces = _forward(module, tokens, shift, chunk, accelerator)
            torch.autograd.backward(
                [pieces[name] for name in read],
                [_gradient(leaves[name])[chunk].to(pieces[name].dtype) for name in read],
            )
        collect()
    return parts


def joined(*parts: Tokens) -> Tokens:
    """Tokens of several groups of prompts, one after the other; an empty group has none."""
    given = [part for part in parts if part]
    if len(given) == 1:
        return given[0]
    return {
        name: {key: torch.cat([p[name][key] for p in given]) for key in given[0][name]} for name in given[0]
    }


@torch.no_grad()
def _outputs(
    module: nn.Module, tokens: Tokens, shift: Mapping[str, Tensor], chunks: list[slice], accelerator: Any
) -> Pieces:
    """The pieces of all prompts, as leaves. Those of each part are copied out of it at once: the memory of a
    CUDA graph's outputs is that of its next ones."""
    held: Pieces = {}
    for chunk in chunks:
        for name, piece in _forward(module, tokens, shift, chunk, accelerator).items():
            if name not in held:
                held[name] = piece.new_empty(chunks[-1].stop, *piece.shape[1:])
            held[name][chunk] = piece
    return {name: piece.requires_grad_() for name, piece in held.items()}


def _forward(
    module: nn.Module, tokens: Tokens, shift: Mapping[str, Tensor], chunk: slice, accelerator: Any
) -> Pieces:
    part = {name: {key: t[chunk] for key, t in parts.items()} for name, parts in tokens.items()}
    # A context of its own each time: autocast keeps cast weights, and those of a pass without gradients have
    # none.
    with accelerator.autocast():
        pieces: Pieces = module(part, {name: delta[chunk] for name, delta in shift.items()})
    return pieces


def _padded(delta: Tensor, count: int) -> Tensor:
    """A change to the unsafe prompts, as one to all prompts: zero for the others."""
    return torch.cat([delta, delta.new_zeros(count - len(delta), *delta.shape[1:])])


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


@contextmanager
def _nothing() -> Iterator[None]:
    yield
