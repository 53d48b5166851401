"""A method in one file that needs everything a method may ask for: the direction of each concept, the safe
prompt least like each unsafe one, neighbours among the safe ones, a statistic of the whole step, a further
prompt in each step, and an adversary at the embeddings with an inner loop through the encoders in training.

A sketch of what DES, SAGE and adversarial training ask of the interface; not those methods.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize, relu

from safetext_sdk.methods import Batch, Method, MethodConfig, MethodContext, StepInputs
from safetext_sdk.models.families import Pieces

PIECE = "text_encoder"


class SketchConfig(MethodConfig):
    push: float = Field(
        default=0.5, ge=0, description="How far from the concept the target lies, as a share."
    )
    neighbours: int = Field(default=3, ge=1, description="Neighbours of each safe prompt that stay nearest.")
    inner: int = Field(default=2, ge=0, description="Steps of the adversary; 0 = none.")
    radius: float = Field(default=0.05, gt=0, description="Size of an adversary's step.")


class Sketch(Method[SketchConfig]):
    name = "sketch"
    summary = "everything a method may ask for, at once"
    source = "none"
    Config = SketchConfig
    train_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "betas": (0.9, 0.999)}

    def prepare(self, context: MethodContext) -> None:
        table = context.table
        words = [" ".join(context.concepts[name].words[:1]) for name in table.concepts]
        named = context.original_of(words)[PIECE]
        self._direction = normalize(named.flatten(1), dim=1).view_as(named)
        self._words, self._context = context.tokenize(words), context
        safe, unsafe = (_flat(context.original(rows)) for rows in (table.safe, table.unsafe))
        near = normalize(safe, dim=1) @ normalize(safe, dim=1).T
        self._nearest = table.safe[near.topk(self.config.neighbours + 1).indices[:, 1:].cpu().numpy()]
        self._row_of = {int(row): i for i, row in enumerate(table.safe)}
        least = (normalize(unsafe, dim=1) @ normalize(safe, dim=1).T).argmin(1)
        self._target = table.safe[least.cpu().numpy()]
        context.keep(table.safe, context.sizes.safe * (1 + self.config.neighbours))

    def inputs(self, inputs: StepInputs) -> StepInputs:
        """Towards the original output: a perturbation of the unsafe prompts' embeddings; and each concept's
        word by itself."""
        student, device = self._context.student, self._context.device
        width = student(inputs.unsafe)[PIECE].shape
        shift = torch.zeros(width, device=device, requires_grad=True)
        with torch.no_grad():
            original = self._context.teacher.run(inputs.unsafe)[PIECE]
        for _ in range(self.config.inner):
            found = student(inputs.unsafe, {PIECE: shift})[PIECE]
            likeness = cosine_similarity(found.flatten(1), original.flatten(1)).sum()
            (slope,) = torch.autograd.grad(likeness, shift)
            shift = (shift + self.config.radius * slope.sign()).detach().requires_grad_()
        length = inputs.unsafe[PIECE]["input_ids"].shape[1]
        extra = {PIECE: {key: t[:, :length].to(device) for key, t in self._words[PIECE].items()}}
        return dataclasses.replace(inputs, extra=extra, shift={PIECE: shift.detach()})

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        length = batch.unsafe[PIECE].shape[1]
        away = self._direction[torch.from_numpy(batch.rows.concept)][:, :length]
        goal = batch.original(self._target[batch.rows.pair])[PIECE]
        goal = goal - self.config.push * goal.flatten(1).norm(dim=1).mean() * away
        unsafe = _apart(batch.unsafe[PIECE], goal)
        safe = _apart(batch.safe[PIECE], batch.safe_original[PIECE])
        word = _apart(batch.extra[PIECE], batch.original(self._context.table.fixed)[PIECE])
        spread = relu(_spread(batch.safe_original[PIECE]) - _spread(batch.safe[PIECE]))  # of the whole step
        known = [i for i, row in enumerate(batch.rows.safe) if int(row) in self._row_of]
        kept = batch.safe[PIECE].new_zeros(())
        if known:
            rows = self._nearest[[self._row_of[int(batch.rows.safe[i])] for i in known]]
            others = batch.original(rows.ravel())[PIECE].flatten(1).view(len(known), -1, safe_width(batch))
            kept = (
                1 - cosine_similarity(batch.safe[PIECE][known].flatten(1)[:, None], others, dim=-1)
            ).mean()
        parts = {"unsafe": unsafe, "safe": safe, "word": word, "spread": spread, "kept": kept}
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}


def safe_width(batch: Batch) -> int:
    return batch.safe[PIECE].flatten(1).shape[1]


def _flat(pieces: Pieces) -> Tensor:
    return pieces[PIECE].flatten(1)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    return (1 - cosine_similarity(a.flatten(1), b.flatten(1))).mean()


def _spread(x: Tensor) -> Tensor:
    flat = normalize(x.flatten(1), dim=1)
    return (flat - flat.mean(0)).square().sum(1).mean()
