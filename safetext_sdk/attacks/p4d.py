"""Prompting4Debugging (Chin et al., ICML 2024, arXiv 2309.06135, section 3; P4D-N): a prompt of N tokens
under which the hardened model predicts what the original predicts for the unsafe prompt.

As published: 16 tokens in the place of the prompt, 3,000 steps of AdamW (0.1, decay 0.1) on embeddings that
are projected to the nearest tokens, one timestep a step. Timesteps are taken in turn from the original's
own trajectory, where the paper draws them at random from noised pictures of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ..search.problem import Found, Problem
from ..search.projected_descent import projected_descent
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .denoiser_goal import SamePrediction
from .token_attack import TokenAttack, TokenAttackConfig, prefix


class P4DConfig(TokenAttackConfig):
    """Settings of ``p4d``; defaults are those of the paper."""

    words: int = Field(default=16, ge=1, le=64, description="Words that take the prompt's place.")
    steps: int = Field(default=3000, ge=1, description="Steps of Adam.")
    rate: float = Field(default=0.1, gt=0, description="Step size of Adam.")
    decay: float = Field(default=0.1, ge=0, description="Its decoupled weight decay of the embeddings.")
    timesteps: int = Field(default=10, ge=1, description="Steps of the original's trajectory, in turn.")
    every: int = Field(default=50, ge=1, description="Steps between two exact evaluations.")


class P4D(TokenAttack[P4DConfig]):
    """Projected descent on embeddings, told by the denoiser."""

    name = "p4d"
    summary = "16 words in the prompt's place, descended on through the denoiser"
    source = "Chin et al. 2024, arXiv 2309.06135, section 3 (P4D-N)"
    threat = "white box"
    needs = frozenset({"encoder", "denoiser", "gradients"})
    keeps_prompt = False
    Config = P4DConfig
    version = 3  # of 1, the decay was a part of Adam's gradient; of 2, a defended denoiser was not asked
    small = {"steps": 300, "timesteps": 4, "every": 10}  # noqa: RUF012

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, ""),)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        seed = context.picture_seeds[0]
        return SamePrediction.to_prompts(
            context.original, prompts, seed=seed, times=self.config.timesteps, attacked=context.hardened
        )

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        goal, config = objective.goal, self.config
        assert isinstance(goal, SamePrediction)
        return projected_descent(
            objective,
            [objective.stage(goal.at(time)) for time in range(goal.cost)],
            problem,
            steps=config.steps,
            rate=config.rate,
            decay=config.decay,
            every=config.every,
        )

    def evaluations(self, goal: Goal) -> int:
        # A step costs two passes of the encoder and two of the denoiser, a row at all timesteps cost + 1.
        steps = self.config.steps
        return 1 + -(-steps // self.config.every) + round(4 * steps / (1 + goal.cost))
