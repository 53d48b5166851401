"""Words before the prompt that bring the old conditioning back: a gradient search through the hardened
encoder.

White box to the encoder. What is searched is the prefix that makes the hardened model's conditioning
nearest to what the original read from the unsafe prompt; pictures and the denoiser take no part. Every word
is one token that survives as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ..errors import ModelError
from ..models.cross_attention import text_metric
from ..search.coordinate_descent import coordinate_descent
from ..search.coordinate_gradient import coordinate_gradient
from ..search.problem import Found, Problem
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .encoder_goals import Distance, NearConditioning
from .token_attack import PrefixConfig, TokenAttack, prefix


class GcgEncoderConfig(PrefixConfig):
    """Settings of ``gcg-encoder``; defaults are those of Zou et al., appendix."""

    steps: int = Field(default=500, ge=1, description="Gradients taken a prompt.")
    candidates: int = Field(default=512, ge=1, description="Prefixes evaluated exactly a step.")
    top: int = Field(default=256, ge=1, description="Best-ranked words of a position that are drawn from.")
    search: Literal["gradient", "descent"] = Field(
        default="gradient",
        description="gradient: candidates change any position; descent: one position after the other.",
    )
    distance: Distance = Field(
        default="flat",
        description="flat: cosine of the whole conditioning; position: every position counts alike; "
        "attention: as the denoiser's cross-attention reads it; pooled: the pooled output.",
    )


class GcgEncoder(TokenAttack[GcgEncoderConfig]):
    """Coordinate gradient or coordinate descent over a prefix."""

    name = "gcg-encoder"
    summary = "a prefix found by gradients that brings the original conditioning back"
    source = "Zou et al. 2023, arXiv 2307.15043, algorithm 1, on the conditioning"
    threat = "encoder"
    Config = GcgEncoderConfig
    small = {"steps": 40, "candidates": 48, "top": 64}  # noqa: RUF012

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, text),)

    def impossible(self, context: AttackContext) -> str | None:
        if self.config.distance == "attention":
            try:
                text_metric(context.original)
            except ModelError as error:
                return str(error)
        return super().impossible(context)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        return NearConditioning.to_prompts(context.original, list(prompts), self.config.distance)

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        steps, candidates = self.config.steps, self.config.candidates
        if self.config.search == "descent":
            return coordinate_descent(objective, problem, steps=steps, candidates=candidates)
        return coordinate_gradient(
            objective, problem, steps=steps, candidates=candidates, top=self.config.top
        )

    def evaluations(self, goal: Goal) -> int:
        return 1 + self.config.steps * (self.config.candidates + 2)
