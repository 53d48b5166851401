"""What a method may ask for once, before the first step: see `Method.prepare`.

With it a method finds what it compares with: a concept's direction is the original's output on the concept's
words (`MethodContext.original_of`); the safe prompt that is least like an unsafe one, or the nearest
neighbours of a safe one, come from the original's outputs on the table's rows (`MethodContext.original`); an
adversary goes through the encoders in training (`MethodContext.student`) with tokens of its choice or with a
change to their embeddings, and through the denoiser (`MethodContext.pipeline`) where it aims at pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..models.families import Conditioning, Family, Pieces, Tokens
from ..policy.schema import Concept
from .prompt_table import PromptTable


class Original(Protocol):
    """The original encoders, frozen."""

    def read(self, rows: np.ndarray, lengths: Mapping[str, int]) -> Pieces:
        """Pieces on rows of the table, cut to ``lengths`` (by encoder; all positions where absent): those
        that count in losses."""
        ...

    def whole(self, rows: np.ndarray, lengths: Mapping[str, int]) -> Pieces:
        """The same of all encoders, those too that stay as they are: what `MethodContext.conditioning`
        takes."""
        ...

    def run(self, tokens: Tokens) -> Pieces:
        """Pieces on any tokens."""
        ...

    def keep(self, rows: np.ndarray, each_step: int) -> None:
        """See `MethodContext.keep`."""
        ...


class StudentLike(Protocol):
    """The encoders in training, as they are at the moment."""

    def __call__(self, tokens: Tokens, shift: Mapping[str, Tensor] | None = None) -> Pieces: ...


@dataclass(frozen=True)
class StepSizes:
    """How long training is: steps, and unsafe and safe prompts a step over all processes."""

    steps: int
    unsafe: int
    safe: int


@dataclass(frozen=True)
class MethodContext:
    """Everything that a method may build on.

    Attributes:
        table: all prompts of the run, with anchors and concepts.
        teacher: the original encoders; `original`, `original_of` and `keep` are the short ways to it.
        student: the encoders in training. Gradients flow; take those of an inner loop with
            ``torch.autograd.grad`` towards its own variables, so that none is left in the weights.
        tokenize: prompts to tokens on the CPU, as the model's own pipeline does it.
        tokenizers: by encoder name.
        family: what is known about this kind of pipeline.
        concepts: the policy's concepts by id; ``table.concepts`` are their ids.
        sizes: steps and prompts a step.
        seed: of the run.
        device: where encoders and batches live.
        pipeline: builds the original's diffusers pipeline when first called; for methods that read the
            denoiser.
        conditioning: pieces of all encoders to what the denoiser reads; gradients flow.
        generation: arguments that the model wants when its pipeline is called.
        weights: how much each piece counts, as in `Batch.weights`.
        tables: token embeddings of every encoder in training [V, d], by name; not trained unless asked for.
        never: words, in lower case, that training must not read: held out, or drawn from by an attack that
            measures.
    """

    table: PromptTable
    teacher: Original
    student: StudentLike
    tokenize: Callable[[Sequence[str]], Tokens]
    tokenizers: Mapping[str, Any]
    family: Family
    concepts: Mapping[str, Concept]
    sizes: StepSizes
    seed: int
    device: torch.device
    pipeline: Callable[[], Any]
    conditioning: Callable[[Pieces], Conditioning]
    generation: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Tensor] = field(default_factory=dict)
    never: frozenset[str] = frozenset()

    def original(self, rows: np.ndarray) -> Pieces:
        """The original's pieces on rows of the table, at all positions; only those that count."""
        return self.teacher.read(rows, {})

    def original_of(self, prompts: Sequence[str]) -> Pieces:
        """The original's pieces on any prompts, at all positions."""
        return self.teacher.run(self.moved(self.tokenize(list(prompts))))

    def moved(self, tokens: Tokens) -> Tokens:
        """Tokens on the device."""
        return {name: {key: t.to(self.device) for key, t in parts.items()} for name, parts in tokens.items()}

    def masks(self, tokens: Tokens) -> dict[str, Tensor]:
        """Where positions count, [b, L] by piece; {} where the denoiser reads pad positions too.

        L is that of the piece: not that of ``tokens`` where the family leaves out a template's beginning.
        """
        return {} if self.family.pads_are_read else self.family.masks(tokens)

    def keep(self, rows: np.ndarray, each_step: int) -> None:
        """Announce that each step reads the original on so many of ``rows``: they are computed beforehand if
        that pays and fits into memory. Nothing changes but time."""
        self.teacher.keep(rows, each_step)

    def generator(self, stream: int) -> np.random.Generator:
        """Random numbers of the run's seed; another ``stream``, other numbers."""
        return np.random.default_rng([self.seed, stream])
