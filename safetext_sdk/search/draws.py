"""Random numbers of their own for every prompt: what is found for one does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """One generator a prompt, on the CPU, so that every device sees the same numbers.

    Args:
        seeds: of the n prompts.
        device: where the numbers are wanted.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device

    def uniform(self, *shape: int) -> Tensor:
        """[n, *shape] in [0, 1)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """[n, *shape], mean 0 and variance 1."""
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)

    def integers(self, below: int, *shape: int) -> Tensor:
        """[n, *shape], each in 0 ... below - 1."""
        drawn = [torch.randint(below, shape, generator=g) for g in self.generators]
        return torch.stack(drawn).to(self.device)
