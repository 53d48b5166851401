"""The strongest discrete attack here: coordinate descent, first through the encoder and then through the
denoiser, with words before, after and around the prompt.

After RECORD's idea (all tokens of one position ranked by the linear model of one gradient, the best ranks
evaluated exactly; its authors published no code). Two changes of our own: encoder sweeps, which cost no
pass of the denoiser, find where the denoiser's sweeps begin; and each place of the words is a start of its
own, of which the best by the denoiser is kept. The encoder's distance is the one that the denoiser's
cross-attention sees, where it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from ..errors import ModelError
from ..models.families import Conditioning, Tokens
from ..models.model import TextToImageModel
from ..search.candidates import SLOT
from ..search.coordinate_descent import coordinate_descent
from ..search.problem import Found, Problem
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .denoiser_goal import SamePrediction
from .encoder_goals import NearConditioning
from .token_attack import PrefixConfig, TokenAttack

Place = Literal["before", "after", "around"]


class CoordinateDescentConfig(PrefixConfig):
    """Settings of ``coordinate-descent``."""

    places: tuple[Place, ...] = Field(
        default=("before", "after", "around"),
        min_length=1,
        description="Where the words stand; each place is a start of its own, and the best is kept.",
    )
    encoder_sweeps: int = Field(
        default=6, ge=0, description="Times that every word is settled through the encoder, first."
    )
    sweeps: int = Field(default=6, ge=1, description="Times that every word is settled through the denoiser.")
    candidates: int = Field(
        default=128, ge=1, description="Best-ranked words that are evaluated exactly at each visit."
    )
    timesteps: int = Field(
        default=3, ge=1, description="Steps of the original's trajectory whose predictions are compared."
    )


class GuidedPrediction:
    """`SamePrediction`, with a goal of the encoder that its search may follow first."""

    def __init__(self, prediction: SamePrediction, guide: NearConditioning) -> None:
        self.prediction, self.guide = prediction, guide
        self.cost, self.spent = prediction.cost, prediction.spent

    def far(self, got: Conditioning, tokens: Tokens, prompts: Tensor) -> Tensor:
        """See `Goal.far`: what the denoiser says."""
        return self.prediction.far(got, tokens, prompts)

    def far_below(self, got: Conditioning, tokens: Tokens, prompts: Tensor, bound: Tensor) -> Tensor:
        """See `BoundedGoal.far_below`."""
        return self.prediction.far_below(got, tokens, prompts, bound)


class CoordinateDescent(TokenAttack[CoordinateDescentConfig]):
    """Coordinate descent through the encoder, then through the denoiser, from several places."""

    name = "coordinate-descent"
    summary = "words before, after or around the prompt, settled one by one through encoder and denoiser"
    source = "this project, after RECORD's ranking of candidates"
    threat = "white box"
    needs = frozenset({"encoder", "denoiser", "gradients"})
    Config = CoordinateDescentConfig
    version = 2  # a defended denoiser was not asked
    small = {"encoder_sweeps": 2, "sweeps": 2, "candidates": 24}  # noqa: RUF012

    def templates(self, text: str) -> tuple[str, ...]:
        return tuple(placed(self.config.words, text, place) for place in self.config.places)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        prediction = SamePrediction.to_prompts(
            context.original,
            prompts,
            seed=context.picture_seeds[0],
            times=self.config.timesteps,
            attacked=context.hardened,
        )
        return GuidedPrediction(prediction, guide_of(context.original, list(prompts)))

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        goal, config = objective.goal, self.config
        assert isinstance(goal, GuidedPrediction)
        words = problem.free.shape[1]
        start = problem
        passes = spared = problem.ids.new_zeros(len(problem.ids))
        if config.encoder_sweeps:
            first = coordinate_descent(
                objective.stage(goal.guide),
                problem,
                steps=config.encoder_sweeps * words,
                candidates=config.candidates,
            )
            start = replace(problem, ids=first.ids)
            passes, spared = first.forward_passes, first.spared
        found = coordinate_descent(
            objective, start, steps=config.sweeps * words, candidates=config.candidates
        )
        return replace(found, forward_passes=found.forward_passes + passes, spared=found.spared + spared)

    def evaluations(self, goal: Goal) -> int:
        visit = self.config.words * (self.config.candidates + 2)
        return 1 + visit * self.config.sweeps + visit * self.config.encoder_sweeps // (1 + goal.cost)


def placed(words: int, text: str, place: Place) -> str:
    """The template with ``words`` slots at a place of the text; around: the larger half before it."""
    before = {"before": words, "after": 0, "around": (words + 1) // 2}[place]
    return " ".join([*[SLOT] * before, *([text] if text else []), *[SLOT] * (words - before)])


def guide_of(original: TextToImageModel, prompts: list[str]) -> NearConditioning:
    """The distance as cross-attention sees it; that of positions where the denoiser has none."""
    try:
        return NearConditioning.to_prompts(original, prompts, "attention")
    except ModelError:
        return NearConditioning.to_prompts(original, prompts, "position")
