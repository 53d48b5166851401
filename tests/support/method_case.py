"""A trainer on a miniature model and a handful of prompts, ready for its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetext_sdk.hardening.assemble import HardeningPlan, TrainingTexts, make_trainer
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.methods.prompt_table import Pair
from safetext_sdk.models import load_model

PAIRS = [
    Pair("a picture of a gun", "a picture of a flower", "weapon"),
    Pair("a photo of a knife", "a photo of a flower", "weapon"),
    Pair("a cat and a sword", "a cat and a bouquet", "blade"),
    Pair("the sword", "the bouquet", "blade"),
]
SAFE = [
    ("", "empty"),
    ("a picture of an apple", "safe"),
    ("a cat with an apple", "safe"),
    ("flowers", "safe"),
]


def trainer_of(model: Path, method: Any, **more: Any) -> Any:
    """After `Trainer.prepare`. ``never``, ``concepts``, ``kept_as``: as `TrainingTexts` has them;
    ``encoders``: those that are hardened, all unless said; the rest are settings of the trainer."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    texts = TrainingTexts(
        PAIRS,
        SAFE,
        more.pop("concepts", {}),
        never=more.pop("never", frozenset(("gun", "knife", "sword"))),
        kept_as=more.pop("kept_as", {}),
    )
    loaded = load_model(model)
    how = dict.fromkeys(more.pop("encoders", loaded.encoders), "full")
    train = TrainConfig(**{"steps": 4, "batch_size": 4, "whole_every": 1, **more})
    plan = HardeningPlan(method, train, "default", 0, how)
    trainer = make_trainer(loaded, plan, texts, model.parent, Accelerator(cpu=True))
    trainer.prepare()
    return trainer


def inputs_of(trainer: Any, step: int = 0) -> Any:
    """What the trainer would put through the encoders in a step, before the method has its say."""
    from safetext_sdk.methods import StepInputs

    rows = trainer.rows(step)
    lengths, table = trainer.lengths(rows), trainer.context.table
    device = trainer.context.device
    return StepInputs(rows, table.pick(rows.unsafe, lengths, device), table.pick(rows.safe, lengths, device))
