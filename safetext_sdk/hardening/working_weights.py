"""bf16 copies of the trained weights that go through the steps, beside fp32 masters that are stepped.

Autocast multiplies in bf16: it casts the weights of every linear layer at every step, forward, and their
gradients back. Here the cast is made once, after the optimiser's step and for all weights together. What
autocast leaves in fp32 (norms, embeddings, sums over layers) is not copied, and autocast stays on for it, so
that the arithmetic of a step is the same, bit for bit (mixed precision with master weights: Micikevicius et
al. 2018, arXiv 1710.03740, section 3.1).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .trainable import Student


class WorkingWeights:
    """The encoders in training with bf16 weights in their linear layers.

    ``module``: takes the student's place in a step. Every other parameter is the student's own.
    """

    def __init__(self, student: Student) -> None:
        """
        Args:
            student: with the masters, fp32; not changed.
        """
        self._masters: list[Tensor] = _of_linear_layers(student)
        self._copies: list[Tensor] = [nn.Parameter(p.detach().to(torch.bfloat16)) for p in self._masters]
        shared = {id(t): t for t in (*student.parameters(), *student.buffers())}
        replaced = {id(p): c for p, c in zip(self._masters, self._copies, strict=True)}
        # deepcopy takes tensors that it is told of for copied ones.
        self.module: Student = copy.deepcopy(student, {**shared, **replaced})

    @torch.no_grad()
    def collect(self) -> None:
        """Add the copies' gradients to the masters', in fp32, and drop them."""
        pairs = zip(self._masters, self._copies, strict=True)
        found = [(master, c.grad) for master, c in pairs if c.grad is not None]
        first = [(master, gradient) for master, gradient in found if master.grad is None]
        further = [(master.grad, gradient) for master, gradient in found if master.grad is not None]
        for master, _ in first:
            master.grad = torch.empty_like(master)
        if first:
            torch._foreach_copy_([_gradient(master) for master, _ in first], [g for _, g in first])
        if further:
            torch._foreach_add_([total for total, _ in further], [g for _, g in further])
        self.forget()

    def forget(self) -> None:
        """Drop the copies' gradients."""
        for part in self._copies:
            part.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the copies up to the masters, after these have moved."""
        if self._copies:
            torch._foreach_copy_(self._copies, self._masters)


def _of_linear_layers(student: Student) -> list[Tensor]:
    """Trained fp32 parameters that nothing but linear layers reads: those that autocast would cast."""
    inside: dict[int, nn.Parameter] = {}
    outside: set[int] = set()
    for part in student.modules():
        for parameter in part.parameters(recurse=False):
            if isinstance(part, nn.Linear) and parameter.requires_grad and parameter.dtype == torch.float32:
                inside[id(parameter)] = parameter
            else:
                outside.add(id(parameter))
    return [parameter for key, parameter in inside.items() if key not in outside]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
