"""UnlearnDiffAtk (Zhang et al., ECCV 2024, arXiv 2310.11868, section 4): a prefix under which the hardened
model denoises the original's picture of the unsafe prompt.

As published: five tokens, 40 steps of Adam at each of 50 timesteps on a relaxed choice of tokens, from a
uniform one on. Differences, so that all prompts can be attacked together and no picture is looked at while
searching: the target is the original's prediction on its own trajectory instead of the noise added to its
picture; the prefix kept is the one with the least error over all timesteps, where the published code stops
at the first timestep whose prefix shows the concept in a picture (which makes its figure the best of up to
50 tries).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ..search.problem import Found, Problem
from ..search.relaxed_descent import relaxed_descent
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .denoiser_goal import SamePrediction
from .token_attack import PrefixConfig, TokenAttack, prefix


class UnlearnDiffAtkConfig(PrefixConfig):
    """Settings of ``unlearndiffatk``; defaults are those of the published code."""

    timesteps: int = Field(default=50, ge=1, description="Steps of the original's trajectory, in turn.")
    steps: int = Field(default=40, ge=1, description="Steps of Adam at each timestep.")
    rate: float = Field(default=1e-2, gt=0, description="Step size of Adam.")
    decay: float = Field(default=0.1, ge=0, description="Its L2 penalty on the weights of tokens.")
    every: int = Field(default=40, ge=1, description="Steps between two exact evaluations.")


class UnlearnDiffAtk(TokenAttack[UnlearnDiffAtkConfig]):
    """Descent on a relaxed prefix, timestep by timestep."""

    name = "unlearndiffatk"
    summary = "a prefix descended on through the denoiser, timestep by timestep"
    source = "Zhang et al. 2024, arXiv 2310.11868, section 4"
    threat = "white box"
    needs = frozenset({"encoder", "denoiser", "gradients"})
    Config = UnlearnDiffAtkConfig
    version = 2  # a defended denoiser was not asked
    small = {"timesteps": 6, "steps": 40, "rate": 5e-2, "every": 10}  # noqa: RUF012

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, text),)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        seed = context.picture_seeds[0]
        return SamePrediction.to_prompts(
            context.original, prompts, seed=seed, times=self.config.timesteps, attacked=context.hardened
        )

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        goal, config = objective.goal, self.config
        assert isinstance(goal, SamePrediction)
        stages = [objective.stage(goal.at(time)) for time in range(goal.cost)]
        return relaxed_descent(
            objective,
            stages,
            problem,
            steps=config.steps,
            rate=config.rate,
            decay=config.decay,
            every=config.every,
        )

    def evaluations(self, goal: Goal) -> int:
        # A step costs two passes of the encoder and two of the denoiser, a row at all timesteps cost + 1.
        steps = goal.cost * self.config.steps
        exact = goal.cost * -(-self.config.steps // self.config.every)
        return 1 + exact + round(4 * steps / (1 + goal.cost))
