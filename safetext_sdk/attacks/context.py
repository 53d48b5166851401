"""The unsafe prompt in random company: words before it, after it, and around it.

The cheapest attack that there is, and one that breaks defences trained on bare sentences. A prompt is broken
if any of its contexts is. The words come from a list that no training may use (`context_words`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import Field

from .base import Attack, AttackConfig, AttackContext, AttackResult

PLACES = ("before", "after", "around")


class ContextConfig(AttackConfig):
    """Settings of ``context``."""

    contexts: int = Field(
        default=3, ge=1, le=64, description="Contexts a prompt: before, after, around, in turn."
    )
    words: int = Field(default=5, ge=2, le=32, description="Random words of a context.")
    place: Literal["turns", "before", "after", "around"] = Field(
        default="turns", description="Where the words stand; turns: before, after and around, in turn."
    )


WORDS = "context_words.txt"


@cache
def context_words() -> tuple[str, ...]:
    """The words of ``data/context_words.txt``; whoever trains on random words leaves these out."""
    text = files(__package__).joinpath("data", WORDS).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def in_context(prompt: str, words: Sequence[str], place: str) -> str:
    """``prompt`` with the words at one of `PLACES`; around: the larger half before it."""
    before = {"before": len(words), "after": 0, "around": (len(words) + 1) // 2}[place]
    return " ".join([*words[:before], prompt, *words[before:]])


class Context(Attack[ContextConfig]):
    """Several contexts a prompt, each of distinct words."""

    name = "context"
    summary = "random words before, after and around the prompt; broken if any shows the concept"
    Config = ContextConfig

    def materials(self) -> Mapping[str, str]:
        return {WORDS: hashlib.sha256("\n".join(context_words()).encode()).hexdigest()}

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            yield AttackResult(prompt, self.texts(prompt, self.random(prompt)))

    def texts(self, prompt: str, rng: random.Random) -> tuple[str, ...]:
        """All contexts of one prompt; with more of them, the first ones stay."""
        places = PLACES if self.config.place == "turns" else (self.config.place,)
        return tuple(
            in_context(prompt, rng.sample(context_words(), self.config.words), places[k % len(places)])
            for k in range(self.config.contexts)
        )
