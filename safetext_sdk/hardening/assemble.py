"""From a loaded model and texts to a `Trainer`: encoders to train, the original beside them, and what the
method may ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import UsageError
from ..methods import Method
from ..methods.context import MethodContext, StepSizes
from ..methods.prompt_table import Pair
from ..models.families import Pieces, piece_owner
from ..models.model import EncoderBundle, TextToImageModel
from ..policy.schema import Concept
from ..processes import Alone, team
from .settings import TrainConfig
from .teacher import Teacher, build_table
from .trainable import (
    LoraSize,
    Student,
    freeze_unread,
    full_copy,
    lora_copy,
    no_dropout,
    original_weights,
)
from .trainer import Trainer


@dataclass(frozen=True)
class HardeningPlan:
    """What a run does: everything that decides its weights, beside model and policy.

    ``recipe``: name of the recipe that the settings started from. ``how``: ``full`` or ``lora`` by the name
    of each encoder that is hardened; encoders that are not named stay as they are.
    """

    method: Method[Any]
    train: TrainConfig
    recipe: str
    seed: int
    how: Mapping[str, str]


@dataclass(frozen=True)
class TrainingTexts:
    """What a run is trained on: pairs, and (text, kind) that must keep their conditioning, see
    `retain_set.SafeText`; and the concepts that the pairs are about, by id. ``shares``: of the draws, by
    source of pairs and by kind of safe texts, see `further_texts`. ``never``: see `MethodContext.never`.
    ``kept_as``: of safe texts that must have another text's conditioning, that text."""

    pairs: Sequence[Pair]
    safe: Sequence[tuple[str, str]]
    concepts: Mapping[str, Concept]
    shares: Mapping[str, float] = field(default_factory=dict)
    never: frozenset[str] = frozenset()
    kept_as: Mapping[str, str] = field(default_factory=dict)


def make_trainer(
    model: TextToImageModel, plan: HardeningPlan, texts: TrainingTexts, folder: Path, accelerator: Any
) -> Trainer:
    """The trainer of a run.

    Args:
        model: the original; not changed.
        plan: what to train for, and how.
        texts: what to train on.
        folder: for checkpoints.
        accelerator: of the ``accelerate`` package; brings device, precision and processes.
    """
    train, how = plan.train, plan.how
    originals = {n: original_weights(model, n, way) for n, way in how.items()} | {
        n: e for n, e in model.encoders.items() if n not in how
    }
    encoders = _encoders(model, originals, plan)
    student = Student(EncoderBundle(model.family, encoders, model.options))
    weights_of = {name: concept.weight for name, concept in texts.concepts.items()}
    table = build_table(
        model, texts.pairs, texts.safe, texts.shares, weights_of, train.positions, texts.kept_as
    )
    one = table.pick(np.zeros(1, np.int64), {}, model.device)
    with accelerator.autocast():
        freeze_unread(student, one)
    trainable = {n: p for n, p in student.bundle.named_parameters() if p.requires_grad}
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    original = EncoderBundle(model.family, originals, model.options)
    processes: int = accelerator.num_processes
    teacher = Teacher(original, table, model.device, train, autocast, processes=processes)
    weights = piece_weights(teacher.run(one), how, train.sequence_weight)
    if not all(weights.values()):
        teacher.counted = frozenset(name for name, weight in weights.items() if weight)
    context = MethodContext(
        table=table,
        teacher=teacher,
        student=student,
        tokenize=model.tokenize,
        tokenizers=model.tokenizers,
        family=model.reader,
        concepts=texts.concepts,
        sizes=StepSizes(train.steps, train.batch_size, train.safe_size),
        seed=plan.seed,
        device=model.device,
        pipeline=model.pipeline,
        conditioning=lambda pieces: model.reader.joined(pieces, model.options),
        generation=model.generation_defaults,
        weights=weights,
        tables={n: _table(e) for n, e in student.bundle.encoders.items()},
        never=texts.never,
    )
    return Trainer(
        student,
        teacher,
        context,
        plan.method,
        train,
        folder,
        accelerator,
        trainable,
        rates={n: train.lora_learning_rate if "lora_" in n else train.learning_rate for n in trainable},
        weights=weights,
        masked=not model.reader.pads_are_read,
        team=team(model.device.type) if processes > 1 else Alone(),
    )


def _table(encoder: Any) -> torch.Tensor:
    table: torch.Tensor = encoder.get_input_embeddings().weight
    return table.detach()


def piece_weights(pieces: Pieces, hardened: Collection[str], sequence: float) -> dict[str, float]:
    """How much each piece counts: nothing of untouched encoders; sequences ``sequence``, pooled outputs 1.

    Args:
        pieces: of any prompts; a pooled output is one vector a prompt, whatever the family calls it.
        hardened: names of the encoders that are trained.
        sequence: `TrainConfig.sequence_weight`.

    Raises:
        UsageError: an encoder is trained of which nothing counts, so that it would stay as it is.
    """
    weights = {
        name: float(piece_owner(name) in hardened) * (1.0 if piece.ndim == 2 else sequence)
        for name, piece in pieces.items()
    }
    counted = {piece_owner(name) for name, weight in weights.items() if weight}
    if idle := [name for name in hardened if name not in counted]:
        raise UsageError(
            f"train.sequence_weight 0 leaves nothing to train: of {', '.join(idle)} no pooled output is read"
        )
    return weights


def _encoders(
    model: TextToImageModel, originals: Mapping[str, nn.Module], plan: HardeningPlan
) -> dict[str, Any]:
    """Encoders by name, those that are trained as copies."""
    students: dict[str, Any] = {}
    for index, (name, original) in enumerate(originals.items()):
        train, way = plan.train, plan.how.get(name)
        if way is None:
            students[name] = original
            continue
        if way == "lora":
            alpha, files = train.lora_alpha or train.lora_rank, model.layout.encoders[name]
            size = LoraSize(train.lora_rank, alpha, model.reader.layers_read(name, original))
            students[name] = lora_copy(original, files, size, plan.seed + index)
        else:
            students[name] = full_copy(original, train.train_embeddings)
        if train.gradient_checkpointing:
            students[name].train()
            students[name].gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        no_dropout(students[name])
    return {name: students[name] for name in model.encoders}
