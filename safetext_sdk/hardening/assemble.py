"""From a loaded model and texts to a `Trainer`: encoders to train, the original beside them, its outputs
beforehand where that pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..methods import Method
from ..models.model import EncoderBundle, TextToImageModel
from .settings import TrainConfig
from .teacher import Teacher, build_table
from .trainable import full_copy, lora_copy, no_dropout, original_weights
from .trainer import Trainer


def make_trainer(
    model: TextToImageModel,
    how: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    safe: Sequence[tuple[str, str]],
    method: Method[Any],
    train: TrainConfig,
    *,
    seed: int,
    folder: Path,
    accelerator: Any,
) -> tuple[Trainer, dict[str, Any]]:
    """The trainer of a run, and the encoders that it trains.

    Args:
        model: the original; not changed.
        how: ``full`` or ``lora`` by encoder name; encoders that are not named stay as they are.
        pairs: (unsafe prompt, its anchor).
        safe: (text, kind), see `safeset.SafeText`.
        method, train: what to train for, and how.
        seed: of the order of prompts and LoRA's start.
        folder: for checkpoints.
        accelerator: of the ``accelerate`` package; brings device, precision and processes.
    """
    originals = {n: original_weights(model, n, way) for n, way in how.items()} | {
        n: e for n, e in model.encoders.items() if n not in how
    }
    students = _students(model, originals, how, train, seed)
    bundle = EncoderBundle(model.family, students, model.options)
    trainable = {n: p for n, p in bundle.named_parameters() if p.requires_grad}
    table = build_table(model, pairs, safe)
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    teacher = Teacher(EncoderBundle(model.family, originals, model.options), table, model.device, autocast)
    trainer = Trainer(
        bundle,
        teacher,
        table,
        method,
        train,
        seed,
        folder,
        accelerator,
        trainable,
        rates={n: train.lora_learning_rate if "lora_" in n else train.learning_rate for n in trainable},
        untouched=frozenset(set(model.encoders) - set(how)),
        masked=not model.reader.pads_are_read,
    )
    return trainer, students


def _students(
    model: TextToImageModel,
    originals: Mapping[str, nn.Module],
    how: Mapping[str, str],
    train: TrainConfig,
    seed: int,
) -> dict[str, Any]:
    students: dict[str, Any] = {}
    for index, (name, original) in enumerate(originals.items()):
        if name not in how:
            students[name] = original
            continue
        files = model.layout.encoders[name]
        if how[name] == "lora":
            students[name] = lora_copy(
                original, files, train.lora_rank, train.lora_alpha or train.lora_rank, seed + index
            )
        else:
            students[name] = full_copy(original, train.train_embeddings)
        if train.gradient_checkpointing:
            students[name].train()
            students[name].gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        no_dropout(students[name])
        if train.compile:
            students[name].compile()
    return {name: students[name] for name in model.encoders}


def fill_teacher(teacher: Teacher, method: Method[Any], train: TrainConfig) -> None:
    """Compute the original's outputs beforehand where that is cheaper: anchors are few and read often, safe
    texts the other way round."""
    table, whole = teacher.table, 1 / train.whole_every
    for rows, wanted, count in (
        (np.concatenate([table.fixed, table.negative]), True, 2),
        (table.anchor, method.needs_anchor, train.batch_size + method.other_anchors),
        (table.safe, True, round(train.batch_size * train.safe_share)),
        (table.unsafe, method.needs_original, train.batch_size),
    ):
        if wanted and len(rows):
            # A step that reads a prefix costs about a third of one that reads all.
            teacher.fill(
                rows,
                train.cache_gb * 1e9 - teacher.held_bytes(),
                train.steps * count * (whole + (1 - whole) / 3),
            )
