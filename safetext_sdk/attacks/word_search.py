"""Black-box searches for words: what `sneakyprompt` and `genetic` share.

The searches of `safetext_sdk.search` run here over numbers of words instead of tokens: an attacker who sees
no weights knows no tokens either. What a text is worth is told by pictures (`AttackContext.judge`), or, where
none can be made, by what the encoder gives out for it, compared with what the original gave for the prompt.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..errors import UsageError
from ..policy.minors import adds_minor, names_minor
from ..prompts.words import WholeWords
from ..search.candidates import SLOT, candidates, fill
from ..search.problem import Found, Problem
from ..search.random_search import random_search
from .base import Attack, AttackConfig, AttackContext, AttackResult

Reward = Literal["pictures", "encoder"]
WORST = 2.0
"""Loss of a text that was not sent, because an earlier one got through or because it names a minor: above
every loss of a sent one."""


class WordSearchConfig(AttackConfig):
    """Settings of the black-box searches."""

    words: tuple[str, ...] = Field(
        default=(),
        description="Words to draw from; empty: the whole words of the tokenizer but the policy's own.",
    )
    reward: Reward | None = Field(
        default=None,
        description="What tells how good a text is; absent: pictures, or the encoder where there are none.",
    )
    at_random: bool = Field(
        default=False, description="Draw at random as often instead: the baseline of equal cost."
    )
    prompts_at_once: int = Field(default=32, ge=1, description="Prompts attacked together.")


@dataclass
class TextObjective:
    """An `search.objective.Objective` over numbers of words [r, k]. Not for keeping.

    Args:
        prompts: n unsafe prompts; templates: texts with a `SLOT` for every word, one a prompt.
        words: what the numbers stand for.
        context: models and judge.
        reward: see `Reward`.

    What was asked is in ``queries``; the first text of each prompt whose picture showed the concept in
    ``hits``: an attacker stops there, so what would be sent after it costs nothing.
    """

    prompts: Sequence[str]
    templates: Sequence[str]
    words: Sequence[str]
    context: AttackContext
    reward: Reward
    queries: list[int] = field(init=False)
    hits: dict[int, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.queries = [0] * len(self.prompts)
        if self.reward == "encoder":
            self.target = self.context.original.encode(self.prompts).flat().float()

    def text(self, prompt: int, numbers: Sequence[int]) -> str:
        """What is sent."""
        return fill(self.templates[prompt], [self.words[n] for n in numbers])

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """0 (the concept in full) to 1; see `search.objective.Objective.loss`."""
        owners: list[int] = prompts.tolist()
        texts = [self.text(owner, row) for owner, row in zip(owners, ids.tolist(), strict=True)]
        if self.reward == "encoder":
            for owner in owners:
                self.queries[owner] += 1
            got = self.context.hardened.encode(texts).flat().float()
            return (1 - F.cosine_similarity(got, self.target[prompts.to(got.device)])).to(ids.device)
        return torch.tensor(self._judged(texts, owners), device=ids.device)

    def _judged(self, texts: Sequence[str], owners: Sequence[int]) -> list[float]:
        assert self.context.judge is not None
        open_ = [
            k
            for k, (text, owner) in enumerate(zip(texts, owners, strict=True))
            if owner not in self.hits and not adds_minor(self.prompts[owner], text)
        ]
        told = dict(zip(open_, self.context.judge([texts[k] for k in open_]), strict=True))
        losses = []
        for k, (text, owner) in enumerate(zip(texts, owners, strict=True)):
            if k not in told or owner in self.hits:
                losses.append(WORST)
                continue
            self.queries[owner] += 1
            losses.append(1 - told[k].score)
            if told[k].concepts:
                self.hits[owner] = text
        return losses


W = TypeVar("W", bound=WordSearchConfig)


class WordSearch(Attack[W]):
    """Base: templates and a search from the attack, the rest is here."""

    needs = frozenset({"encoder"})
    Config = WordSearchConfig

    def template(self, prompt: str, context: AttackContext) -> str:
        """The prompt with its slots; every prompt has as many."""
        raise NotImplementedError

    def search(self, objective: TextObjective, problem: Problem) -> Found:
        """The search proper."""
        raise NotImplementedError

    def cost(self) -> int:
        """Texts that the search sends a prompt."""
        raise NotImplementedError

    def baseline(self) -> Attack[Any] | None:
        if self.config.at_random:
            return None
        return type(self)(self.config.model_copy(update={"at_random": True}))

    def impossible(self, context: AttackContext) -> str | None:
        if self.config.reward == "pictures" and context.judge is None:
            return "no pictures can be made while attacking"
        return None

    def reward(self, context: AttackContext) -> Reward:
        """What tells how good a text is here."""
        return self.config.reward or ("encoder" if context.judge is None else "pictures")

    def sees_pictures(self, context: AttackContext) -> bool:
        return self.reward(context) == "pictures"

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        words = self.config.words or drawable_words(context)
        reward = self.reward(context)
        for start in range(0, len(prompts), self.config.prompts_at_once):
            part = list(prompts[start : start + self.config.prompts_at_once])
            begun = time.monotonic()
            templates = [self.template(prompt, context) for prompt in part]
            objective = TextObjective(part, templates, words, context, reward)
            found = self._search(objective, context)
            seconds = (time.monotonic() - begun) / len(part)
            for i, prompt in enumerate(part):
                loss = float(found.losses[i])
                yield AttackResult(
                    prompt,
                    (objective.hits.get(i) or objective.text(i, found.ids[i].tolist()),),
                    success=i in objective.hits if reward == "pictures" else None,
                    queries=objective.queries[i],
                    # The original is asked once, for the goal.
                    forward_passes=objective.queries[i] + 1 if reward == "encoder" else 0,
                    seconds=seconds,
                    notes={"reward": reward, "loss": f"{loss:.4f}"},
                )

    def _search(self, objective: TextObjective, context: AttackContext) -> Found:
        n, k = len(objective.prompts), objective.templates[0].count(SLOT)
        seeds = tuple(zlib.crc32(prompt.encode()) ^ self.config.seed for prompt in objective.prompts)
        # The search begins with words drawn at random: its start is a query like any other.
        begin = [
            self.random(prompt).choices(range(len(objective.words)), k=k) for prompt in objective.prompts
        ]
        problem = Problem(
            ids=torch.tensor(begin),
            free=torch.arange(k).expand(n, k).contiguous(),
            allowed=torch.arange(len(objective.words)),
            seeds=seeds,
            at_once=4096,
            # A text that is asked twice is two queries, as for whoever asks a service; its picture is there.
            exhaustive=True,
            progress=context.progress,
        )
        if self.config.at_random:
            return random_search(objective, problem, evaluations=self.cost(), width=16)
        return self.search(objective, problem)


def drawable_words(context: AttackContext) -> tuple[str, ...]:
    """Whole words of the model's vocabulary, without those that name the policy's concepts or a minor.

    Raises:
        UsageError: none is left.
    """
    own = WholeWords([*(word for term in context.terms for word in term.split()), *context.names])
    try:
        found = candidates(
            next(iter(context.hardened.tokenizers.values())),
            refuse=lambda word: names_minor(word) is not None or own.search(word) is not None,
        )
    except ValueError as error:
        raise UsageError(f"this tokenizer has no words to draw from ({error}); give words") from error
    return found.words
