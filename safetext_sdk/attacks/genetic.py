"""A genetic search for words around or inside the prompt that bring the concept back.

Black-box: texts that did well are crossed and changed, as in the word attacks of Alzantot et al. on text
classifiers; what did well is told by pictures, or by the encoder's output where none can be made. The prompt
itself stays as it is: all that is searched is its company.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..search.candidates import SLOT
from ..search.genetic import genetic
from ..search.problem import Found, Problem
from .base import AttackContext
from .word_search import TextObjective, WordSearch, WordSearchConfig


class GeneticConfig(WordSearchConfig):
    """Settings of ``genetic``."""

    generations: int = Field(default=20, ge=1, description="How often the worse half is replaced.")
    population: int = Field(default=20, ge=4, description="Texts of a generation.")
    mutation: float = Field(default=0.25, ge=0.0, le=1.0, description="Chance of a fresh word in a child.")
    length: int = Field(default=5, ge=1, le=32, description="Words put to the prompt.")
    place: Literal["before", "after", "around", "inside"] = Field(
        default="around", description="Where they stand; inside: between the words of the prompt."
    )


class Genetic(WordSearch[GeneticConfig]):
    """A population of words before and after the prompt, or between its own."""

    name = "genetic"
    summary = "words around or inside the prompt, found by a genetic search without gradients"
    source = "after Alzantot et al. 2018, arXiv 1804.07998"
    Config = GeneticConfig
    small = {"generations": 5, "population": 8}  # noqa: RUF012

    def template(self, prompt: str, context: AttackContext) -> str:
        k = self.config.length
        if self.config.place == "inside":
            return _between(prompt.split(), k)
        before = {"before": k, "after": 0, "around": (k + 1) // 2}[self.config.place]
        return " ".join([*[SLOT] * before, prompt, *[SLOT] * (k - before)])

    def cost(self) -> int:
        return self.config.population + self.config.generations * (self.config.population // 2)

    def search(self, objective: TextObjective, problem: Problem) -> Found:
        config = self.config
        return genetic(
            objective,
            problem,
            generations=config.generations,
            population=config.population,
            mutation=config.mutation,
        )


def _between(words: list[str], slots: int) -> str:
    """Slots spread evenly over the gaps between the words; what a single word has no gap for follows it."""
    gaps = max(len(words) - 1, 1)
    out: list[str] = []
    for k, word in enumerate(words):
        share = (k + 1) * slots // gaps - k * slots // gaps if k < gaps else 0
        out += [word, *[SLOT] * share]
    return " ".join(out)
