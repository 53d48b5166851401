"""Ring-A-Bell (Tsai et al., ICLR 2024, arXiv 2310.10012, section 3): a prompt near the unsafe one with the
concept added three times over.

As published: the concept vector is the mean difference between prompts with the concept and the same prompts
without it; a genetic search (200 prompts, 3,000 generations, mutation 0.25) looks for 16 tokens (or 75) whose
conditioning is nearest to the prompt's plus three times that vector. The paper searches the original's text
encoder and never sees the model that it attacks; ``through: hardened`` is the attacker who has its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..errors import UsageError
from ..models.model import TextToImageModel
from ..prompts.build import build_prompt_book
from ..prompts.prompt_book import UnsafePrompt
from ..prompts.words import WholeWords
from ..search.genetic import genetic
from ..search.problem import Found, Problem
from .base import AttackContext
from .conditioning_objective import ConditioningObjective, Goal
from .encoder_goals import NearConcept, concept_vector, full
from .token_attack import TokenAttack, TokenAttackConfig, prefix


class RingABellConfig(TokenAttackConfig):
    """Settings of ``ring-a-bell``; defaults are those of the paper."""

    words: int = Field(default=16, ge=1, le=75, description="Words that take the prompt's place.")
    coefficient: float = Field(default=3.0, description="How often the concept vector is added.")
    population: int = Field(default=200, ge=4, description="Prompts of a generation.")
    generations: int = Field(default=3000, ge=1, description="How often the worse half is replaced.")
    mutation: float = Field(
        default=0.25, ge=0, le=1, description="Probability that a position of a child gets a fresh token."
    )
    pairs: int = Field(
        default=64, ge=1, description="Training pairs of the policy that a concept vector is taken from."
    )
    through: Literal["original", "hardened"] = Field(
        default="original",
        description="Encoder that is searched. original: as published, the attack does not know the hardened "
        "one; hardened: it does.",
    )


class RingABell(TokenAttack[RingABellConfig]):
    """A genetic search towards the prompt with more of the concept."""

    name = "ring-a-bell"
    summary = "16 words nearest to the prompt with the concept added three times over"
    source = "Tsai et al. 2024, arXiv 2310.10012, section 3"
    threat = "encoder"
    needs = frozenset({"encoder"})
    keeps_prompt = False
    Config = RingABellConfig
    small = {"population": 40, "generations": 60}  # noqa: RUF012

    def searched(self, context: AttackContext) -> TextToImageModel:
        return context.original if self.config.through == "original" else context.hardened

    def templates(self, text: str) -> tuple[str, ...]:
        return (prefix(self.config.words, ""),)

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        target = full(context.original.encode(prompts).flat())
        vectors = self._vectors(context)
        named = {c.id: WholeWords(c.all_words) for c in context.policy.concepts}
        rows = []
        for prompt in prompts:
            own = [vectors[name] for name, words in named.items() if name in vectors and words.search(prompt)]
            rows.append(torch.stack(own or list(vectors.values())).mean(0))
        return NearConcept(target + self.config.coefficient * torch.stack(rows))

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        config = self.config
        return genetic(
            objective,
            problem,
            generations=config.generations,
            population=config.population,
            mutation=config.mutation,
        )

    def evaluations(self, goal: Goal) -> int:
        half = self.config.population // 2
        return 1 + self.config.population + self.config.generations * half

    def _vectors(self, context: AttackContext) -> dict[str, Tensor]:
        """Concept vectors by concept, from training pairs: the words of the test are not among them."""
        book = build_prompt_book(
            context.policy, model=context.original.id, languages=context.original.languages
        )
        rows: dict[str, list[UnsafePrompt]] = {}
        for row in book.train.unsafe:
            rows.setdefault(row.concept, []).append(row)
        if not rows:
            raise UsageError(f"attack {self.name}: the policy has no pairs to take a concept vector from")
        out = {}
        for concept, found in rows.items():
            spread = found[:: max(1, len(found) // self.config.pairs)][: self.config.pairs]
            out[concept] = concept_vector(context.original, [(row.text, row.anchor) for row in spread])
        return out
