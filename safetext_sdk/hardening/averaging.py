"""The mean of the weights over the last steps, instead of the last step's weights.

Late in training every batch still moves the weights about a point that serves all batches better than any of
them; their mean is nearer to it, and costs no step: Polyak and Juditsky 1992 (SIAM J. Control Optim. 30(4)),
and for networks Izmailov et al. 2018 (arXiv 1803.05407, section 3), with the constant step size that such a
mean allows. Of LoRA's two matrices the mean of each is taken, which is not quite the mean of their product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import RunError


@dataclass
class TailMean:
    """A running mean of the trained weights, each step counting the same.

    How many steps it holds follows from the number of the step, so a checkpoint needs the mean alone.

    Attributes:
        first: the first step that counts, from 0.
        mean: by parameter name, in the parameter's type and place; empty before ``first``.
    """

    first: int
    mean: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def over(cls, share: float, steps: int) -> TailMean | None:
        """Of the last ``share`` of ``steps``, at least one of them; None where nothing is averaged."""
        return cls(steps - max(1, round(share * steps))) if share else None

    @torch.no_grad()
    def add(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        """Take the weights as they are after ``step``; called after every step, in order."""
        count = step - self.first + 1
        if count < 1:
            return
        if count == 1:
            self.mean = {name: parameter.detach().clone() for name, parameter in trainable.items()}
            return
        for name, parameter in trainable.items():
            self.mean[name].lerp_(parameter, 1 / count)

    def restore(self, done: int, mean: Mapping[str, Tensor], trainable: Mapping[str, nn.Parameter]) -> None:
        """Go on from a checkpoint.

        Args:
            done: steps that it holds.
            mean: as it was written; {} where no step had counted.
            trainable: for where each mean belongs.

        Raises:
            RunError: the checkpoint lacks what ``done`` steps have added.
        """
        wanted = set(trainable) if done > self.first else set()
        if set(mean) != wanted:
            raise RunError("the checkpoint does not hold the mean of these weights; start the run again")
        self.mean = {name: value.to(trainable[name].device) for name, value in mean.items()}

    @torch.no_grad()
    def put(self, trainable: Mapping[str, nn.Parameter]) -> None:
        """Put the mean in the place of the weights."""
        for name, parameter in trainable.items():
            parameter.copy_(self.mean[name])
