"""Words before the prompt under which the denoiser predicts what it predicted for the unsafe prompt: the
greedy coordinate gradient through encoder and denoiser."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ..search.coordinate_gradient import coordinate_gradient
from ..search.problem import Found, Problem
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .denoiser_goal import SamePrediction
from .token_attack import PrefixConfig, TokenAttack, prefix


class GcgDenoiserConfig(PrefixConfig):
    """Settings of ``gcg-denoiser``; those of the search are Zou et al.'s, appendix."""

    steps: int = Field(default=500, ge=1, description="Gradients taken a prompt.")
    candidates: int = Field(default=512, ge=1, description="Prefixes evaluated exactly a step.")
    top: int = Field(default=256, ge=1, description="Best-ranked words of a position that are drawn from.")
    timesteps: int = Field(
        default=3, ge=1, description="Steps of the original's trajectory whose predictions are compared."
    )


class GcgDenoiser(TokenAttack[GcgDenoiserConfig]):
    """Coordinate gradient over a prefix, told by the denoiser."""

    name = "gcg-denoiser"
    summary = "a prefix found by gradients that brings the denoiser's old predictions back"
    source = (
        "Zou et al. 2023, arXiv 2307.15043, algorithm 1, on the objective of UnlearnDiffAtk "
        "(Zhang et al. 2024, arXiv 2310.11868, equation 5)"
    )
    threat = "white box"
    needs = frozenset({"encoder", "denoiser", "gradients"})
    Config = GcgDenoiserConfig
    version = 2  # a defended denoiser was not asked
    small = {"steps": 40, "candidates": 48, "top": 64}  # noqa: RUF012

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, text),)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        seed = context.picture_seeds[0]
        return SamePrediction.to_prompts(
            context.original, prompts, seed=seed, times=self.config.timesteps, attacked=context.hardened
        )

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        config = self.config
        return coordinate_gradient(
            objective, problem, steps=config.steps, candidates=config.candidates, top=config.top
        )

    def evaluations(self, goal: Goal) -> int:
        return 1 + self.config.steps * (self.config.candidates + 2)
