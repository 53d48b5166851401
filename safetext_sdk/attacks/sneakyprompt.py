"""SneakyPrompt: every unsafe word is replaced by meaningless ones until the concept comes back.

Black-box, with few queries. The publication learns by reinforcement which tokens to put in the place of a
sensitive word, rewarded by how near the picture comes to the prompt; here the learner is a bandit (Thompson
sampling, `search.bandit`), the reward is what the detectors see, and there is no separate filter to pass: the
hardened encoder is what has to be got through.
"""

from __future__ import annotations

from pydantic import Field

from ..search.bandit import bandit
from ..search.candidates import SLOT
from ..search.problem import Found, Problem
from .base import AttackContext
from .typos import unsafe_words
from .word_search import TextObjective, WordSearch, WordSearchConfig


class SneakyPromptConfig(WordSearchConfig):
    """Settings of ``sneakyprompt``."""

    queries: int = Field(default=60, ge=2, description="Texts sent a prompt, unless one gets through before.")
    width: int = Field(default=6, ge=1, description="Texts sent before the bandit learns again.")
    length: int = Field(default=3, ge=1, le=16, description="Words in the place of the unsafe ones.")
    arms: int = Field(default=24, ge=2, description="Words that each place chooses from.")


class SneakyPrompt(WordSearch[SneakyPromptConfig]):
    """A bandit over the words that stand in for the unsafe ones."""

    name = "sneakyprompt"
    summary = "unsafe words replaced by meaningless ones, found by a bandit with 60 queries"
    source = "Yang et al. 2023, arXiv 2305.12082 (reinforcement learning there, a bandit here)"
    Config = SneakyPromptConfig
    version = 2  # fewer texts than the budget, and the wrong word of prompts with a euphemism or translation
    small = {"queries": 24}  # noqa: RUF012

    def template(self, prompt: str, context: AttackContext) -> str:
        """The unsafe words taken out, all slots in the place of the first."""
        first, *others = unsafe_words(prompt, context.terms, context.names)
        for start, end in reversed(others):
            prompt = prompt[:start].rstrip() + prompt[end:]
        start, end = first
        return prompt[:start] + " ".join([SLOT] * self.config.length) + prompt[end:]

    def cost(self) -> int:
        return self.config.queries - 1  # the start is a query too

    def search(self, objective: TextObjective, problem: Problem) -> Found:
        config = self.config
        return bandit(objective, problem, evaluations=self.cost(), width=config.width, arms=config.arms)
