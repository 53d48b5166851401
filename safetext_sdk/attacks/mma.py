"""MMA-Diffusion, the text attack (Yang et al., CVPR 2024, arXiv 2311.17516, section 3.1): a prompt without
any of the policy's words whose pooled output is that of the unsafe prompt.

As published: 20 tokens in the prompt's place, coordinate gradient with batches of 512 drawn from the 256 best
of every position, 1,000 steps, sensitive words excluded. The paper searches the original's text encoder;
``through: hardened`` is the attacker who has the hardened one's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ..models.model import TextToImageModel
from ..search.coordinate_gradient import coordinate_gradient
from ..search.problem import Found, Problem
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .encoder_goals import NearConditioning
from .token_attack import TokenAttack, TokenAttackConfig, prefix


class MMAConfig(TokenAttackConfig):
    """Settings of ``mma``; defaults are those of the paper."""

    words: int = Field(default=20, ge=1, le=75, description="Words that take the prompt's place.")
    steps: int = Field(default=1000, ge=1, description="Gradients taken a prompt.")
    candidates: int = Field(default=512, ge=1, description="Texts evaluated exactly a step.")
    top: int = Field(default=256, ge=1, description="Best-ranked words of a position that are drawn from.")
    through: Literal["original", "hardened"] = Field(
        default="original",
        description="Encoder that is searched. original: as published, the attack does not know the hardened "
        "one; hardened: it does.",
    )


class MMA(TokenAttack[MMAConfig]):
    """Coordinate gradient on the pooled output, without the policy's words."""

    name = "mma"
    summary = "20 words, none of them the policy's, whose pooled output is the unsafe prompt's"
    source = "Yang et al. 2024, arXiv 2311.17516, section 3.1"
    threat = "encoder"
    keeps_prompt = False
    uses_terms = False
    Config = MMAConfig
    version = 2  # plurals of the policy's words were found
    small = {"steps": 80, "candidates": 48, "top": 64}  # noqa: RUF012

    def searched(self, context: AttackContext) -> TextToImageModel:
        return context.original if self.config.through == "original" else context.hardened

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, ""),)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        return NearConditioning.to_prompts(context.original, list(prompts), "pooled")

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        config = self.config
        return coordinate_gradient(
            objective, problem, steps=config.steps, candidates=config.candidates, top=config.top
        )

    def evaluations(self, goal: Goal) -> int:
        return 1 + self.config.steps * (self.config.candidates + 2)
