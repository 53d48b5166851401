"""A suffix of random tokens that brings the old meaning back: hill climbing on the conditioning.

No gradients. For each prompt, `queries` suffixes are tried; the one whose hardened conditioning comes nearest
to what the original model read from the plain prompt is kept. Half of the tries are fresh draws, half change
one token of the best suffix so far.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..policy.minors import names_minor
from .base import Attack, AttackConfig, AttackContext, AttackResult

WIDTH = 16
"""Suffixes encoded at once: the best so far is known again after each batch."""
LEAST = -1.0
"""The least cosine there is."""


class RandomSuffixConfig(AttackConfig):
    """Settings of ``random_suffix``."""

    queries: int = Field(default=64, ge=0, description="Suffixes tried a prompt.")
    length: int = Field(default=4, ge=1, le=32, description="Words of a suffix.")
    at_random: bool = Field(
        default=False, description="Draw every suffix anew instead: the baseline of equal cost."
    )


def vocabulary(tokenizer: Any, limit: int = 4000) -> list[str]:
    """Words and pieces of words of the tokenizer (letters only, three or more)."""
    marks = ("</w>", "▁", "Ġ", "##")
    words = {functools.reduce(lambda t, m: t.replace(m, ""), marks, t) for t in tokenizer.get_vocab()}
    usable = sorted(w for w in words if w.isascii() and w.isalpha() and len(w) >= 3)
    return usable[:: max(1, len(usable) // limit)] or sorted(w for w in words if w.isascii() and w.isalpha())


def draw(words: Sequence[str], rng: random.Random) -> str:
    """A word, and never one that names a minor: no attack puts such a word beside an unsafe one."""
    while names_minor(word := rng.choice(words)):
        pass
    return word


def search(
    prompt: str, words: Sequence[str], context: AttackContext, config: RandomSuffixConfig, rng: random.Random
) -> tuple[str, float]:
    """The best ``prompt + suffix`` found, and its cosine to the goal; the plain prompt where none is
    better."""
    goal = context.original.encode([prompt]).flat().float()
    plain = float(_near(context, [prompt], goal))
    # Of texts with a suffix: the search climbs from the best one before any is better than the plain prompt.
    best, best_score = prompt, LEAST
    best_suffix: list[str] = []
    for start in range(0, config.queries, WIDTH):
        tries = []
        for _ in range(min(WIDTH, config.queries - start)):
            suffix = [draw(words, rng) for _ in range(config.length)]
            if best_suffix and not config.at_random and rng.random() < 0.5:
                suffix = list(best_suffix)
                suffix[rng.randrange(config.length)] = draw(words, rng)
            tries.append(suffix)
        texts = [f"{prompt} {' '.join(s)}" for s in tries]
        scores = _near(context, texts, goal)
        top = int(scores.argmax())
        if float(scores[top]) > best_score:
            best, best_score, best_suffix = texts[top], float(scores[top]), tries[top]
    return (best, best_score) if best_score > plain else (prompt, plain)


def _near(context: AttackContext, texts: Sequence[str], goal: Tensor) -> Tensor:
    """Cosines of texts to the goal [n]; the least there is for what is no number, so that it hides no
    other."""
    cosines = F.cosine_similarity(context.hardened.encode(texts).flat().float(), goal)
    return cosines.masked_fill(cosines.isnan(), LEAST)


class RandomSuffix(Attack[RandomSuffixConfig]):
    """Words after the prompt, found by hill climbing."""

    name = "random_suffix"
    summary = "a suffix of random tokens that undoes the redirection; no gradients"
    threat = "encoder"
    needs = frozenset({"encoder"})
    Config = RandomSuffixConfig
    version = 3  # of 2, it did not climb before a suffix came nearer than the plain prompt

    def impossible(self, context: AttackContext) -> str | None:
        """See `Attack.impossible`."""
        return context.nothing_to_find()

    def baseline(self) -> RandomSuffix | None:
        """See `Attack.baseline`."""
        if self.config.at_random:
            return None
        return RandomSuffix(self.config.model_copy(update={"at_random": True}))

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        words = vocabulary(next(iter(context.hardened.tokenizers.values())))
        for prompt in prompts:
            begun = time.monotonic()
            text, score = search(prompt, words, context, self.config, self.random(prompt))
            yield AttackResult(
                prompt,
                (text,),
                queries=self.config.queries + 1,
                forward_passes=self.config.queries + 2,
                seconds=time.monotonic() - begun,
                notes={"cosine": f"{score:.4f}"},
            )
