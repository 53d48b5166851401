"""The goal that the denoiser predicts what the original predicted for the unsafe prompt, at timesteps of the
original's own trajectory (UnlearnDiffAtk, Zhang et al., arXiv 2310.11868, equation 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..models.families import Conditioning, Tokens
from ..models.model import TextToImageModel
from .denoiser_calls import DenoiserCalls, denoiser_of, frozen, record

PREDICTIONS = 64
"""Predictions that are made together for the target."""


class SamePrediction:
    """Mean squared error of the predictions, as a share of the wanted prediction's own mean square.

    The paper takes the noise that was added to a picture of the unsafe prompt; here it is what the original
    predicts on its way to that picture: it needs no picture, and is zero where nothing was hardened.

    Args:
        calls: what the original's denoiser was given on its way from n prompts to their pictures, with the
            denoiser that is attacked.
        wanted: the original's predictions there [n, T, ...].
        times: which of the T steps count.
    """

    def __init__(self, calls: DenoiserCalls, wanted: Tensor, times: Tensor) -> None:
        self.calls, self.wanted, self.times = calls, wanted, times
        self.scale = wanted.square().flatten(2).mean(2).clamp_min(1e-8)  # [n, T]

    @classmethod
    def to_prompts(
        cls,
        original: TextToImageModel,
        prompts: Sequence[str],
        *,
        seed: int,
        times: int,
        attacked: TextToImageModel | None = None,
    ) -> SamePrediction:
        """Towards the original's pictures of n prompts.

        Args:
            seed: of the pictures; times: steps of the trajectory, evenly spread.
            attacked: whose denoiser is asked what it predicts: a defence may be in it. None: the original's.

        Raises:
            ModelError: see `denoiser_calls.record`.
        """
        calls = record(original, prompts, seed=seed, times=times)
        target = original.encode(prompts)
        steps = torch.arange(next(iter(calls.rows.values())).shape[1], device=original.device)
        every = torch.arange(len(prompts), device=original.device)
        at_once = max(1, PREDICTIONS // len(steps))
        with torch.no_grad():
            wanted = [calls.predict(part, steps, target.select(part)) for part in torch.split(every, at_once)]
        if attacked is not None:
            calls = replace(calls, denoiser=denoiser_of(attacked))
        return cls(calls, torch.cat(wanted), steps)

    @property
    def cost(self) -> int:
        """Passes of the denoiser for each row."""
        return len(self.times)

    @property
    def spent(self) -> int:
        """Passes that making the target took, for each prompt: two a step (guidance), one for the
        prediction."""
        return 3 * int(self.wanted.shape[1])

    def at(self, *times: int) -> SamePrediction:
        """The same goal at some of its steps."""
        return SamePrediction(self.calls, self.wanted, self.times[list(times)])

    def far(self, got: Conditioning, tokens: Tokens, prompts: Tensor) -> Tensor:
        """See `Goal.far`."""
        return self._errors(got, prompts, self.times).mean(1)

    def far_below(self, got: Conditioning, tokens: Tokens, prompts: Tensor, bound: Tensor) -> Tensor:
        """See `BoundedGoal.far_below`: one step of the trajectory after the other, and only for rows whose
        mean error can still be below. The last step comes first: there the predictions differ most."""
        errors = torch.zeros(len(prompts), len(self.times), device=bound.device)
        left = torch.arange(len(prompts), device=bound.device)
        for i in reversed(range(len(self.times))):
            errors[left, i] = self._errors(got.select(left), prompts[left], self.times[i : i + 1])[:, 0]
            left = left[errors[left].mean(1) < bound[left]]
            if not len(left):
                break
        return errors.mean(1)

    def _errors(self, got: Conditioning, prompts: Tensor, times: Tensor) -> Tensor:
        """Errors of the predictions at some steps [r, t]."""
        with frozen(self.calls.denoiser):
            said = self.calls.predict(prompts, times, got)
        error = (said - self.wanted[prompts][:, times]).square().flatten(2).mean(2)
        return error / self.scale[prompts][:, times]
