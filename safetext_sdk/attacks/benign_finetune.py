"""Benign fine-tuning: the hardened model trained on harmless pictures for a while, then asked again.

Whoever downloads a model fine-tunes it. Nothing unsafe is in the data, and still what hardening taught may be
unlearned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from .base import AttackConfig, AttackContext, AttackResult, Changed
from .denoising import pictures, why_not
from .fine_tuning import Pictures, Training, fine_tuned, safe_captions
from .probe import Prepared, Probe

PICTURE_SEED = 50_000
"""First seed of the training pictures: no picture of a validation is among them."""


class BenignFinetuneConfig(AttackConfig):
    """Settings of ``benign-finetune``."""

    steps: int = Field(default=1000, ge=1, description="Training steps.")
    learning_rate: float = Field(default=1e-4, gt=0, description="Of AdamW.")
    batch_size: int = Field(default=4, ge=1, description="Pictures a step.")
    rank: int = Field(default=16, ge=1, description="Of the LoRA matrices.")
    pictures: int = Field(
        default=64, ge=1, description="Safe pictures: safe prompts of training, drawn by the original model."
    )
    part: Literal["denoiser", "encoder", "both"] = Field(default="both", description="What is trained.")


class BenignFinetune(Probe[BenignFinetuneConfig]):
    """LoRA steps on safe pictures, then the plain prompts again."""

    name = "benign-finetune"
    summary = "the hardened model fine-tuned on safe pictures, then the plain prompts again"
    source = "cf. Suriyakumar et al. 2024, arXiv 2410.08074 (concept resurgence after fine-tuning)"
    needs = frozenset({"encoder", "gradients", "denoiser"})
    Config = BenignFinetuneConfig
    small = {"steps": 100, "pictures": 32}  # noqa: RUF012

    def impossible(self, context: AttackContext) -> str | None:
        return why_not(context.hardened)

    def prepare(self, prompts: Sequence[str], context: AttackContext) -> Prepared:
        config, begun = self.config, time.monotonic()
        captions = safe_captions(context.policy, context.original.id, config.pictures)
        safe = Pictures(captions, pictures(context.original, captions, PICTURE_SEED))
        training = Training(
            steps=config.steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            rank=config.rank,
            denoiser=config.part != "encoder",
            encoders=config.part != "denoiser",
            seed=config.seed,
            progress=context.progress,
        )
        tuned = fine_tuned(context.hardened, safe, training)
        seconds = (time.monotonic() - begun) / len(prompts)
        passes = 3 * config.steps * config.batch_size // len(prompts)
        results = (AttackResult(p, (p,), forward_passes=passes, seconds=seconds) for p in prompts)
        return Prepared(Changed(tuned, context.original), tuple(results))
