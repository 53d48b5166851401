"""What the attacks that search tokens have in common: usable words, templates, batches of prompts, the
baseline of equal cost, and what is reported.

An attack of this kind says three things: the `templates` of a prompt (where words may be put), the `goal`,
and the `search` with its settings. What is reported is the text that a user would type.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from ..errors import UsageError
from ..models.model import TextToImageModel
from ..policy.minors import names_minor
from ..prompts.words import WholeWords
from ..search.candidates import SLOT, Candidates, as_read, candidates
from ..search.problem import Found, Problem
from ..search.random_search import random_search
from .base import Attack, AttackConfig, AttackContext, AttackResult
from .conditioning_objective import ConditioningObjective, Goal
from .denoiser_calls import why_not
from .token_rows import TokenRows, ids_of, numbers, repeated

Start = Literal["prompt", "blank-term"]
"""What the search starts from. prompt: the unsafe prompt; blank-term: the same without the policy's unsafe
words, so that the attack has to find them. The target is the unsafe prompt in both."""
PASSES_AT_ONCE = {"cpu": 16, "cuda": 1024}
"""Rows of encoder and denoiser that are computed together: a CPU is fastest with what stays in its cache; a
GPU halves it where memory runs out."""


class TokenAttackConfig(AttackConfig):
    """Settings of every token search."""

    at_random: bool = Field(
        default=False, description="Draw at random for as many forward passes: the baseline of equal cost."
    )
    prompts_at_once: int = Field(default=32, ge=1, description="Prompts attacked together.")
    at_once: int = Field(
        default=0,
        ge=0,
        description="Rows evaluated together; 0: by the device, halved where memory runs out.",
    )


class PrefixConfig(TokenAttackConfig):
    """Settings of searches for words beside the prompt."""

    words: int = Field(default=5, ge=1, le=32, description="Words put beside the prompt.")
    start: Start = Field(
        default="prompt",
        description="prompt: words are put beside the unsafe prompt; blank-term: beside the prompt without "
        "the policy's words, which the attack has to find.",
    )


T = TypeVar("T", bound=TokenAttackConfig)


@dataclass(frozen=True)
class Ready:
    """A batch of prompts, ready to be searched.

    Attributes:
        objective, problem: one row a template.
        plain: what the text without found words reaches, for each prompt [n]; infinite where there is none.
        blank: that text, for each prompt.
    """

    objective: ConditioningObjective
    problem: Problem
    plain: Tensor
    blank: tuple[str, ...]


class TokenAttack(Attack[T]):
    """Base of the token searches.

    ``keeps_prompt``: the prompt stays in the text, so that it is the answer itself where nothing beats it.
    ``uses_terms``: the policy's own words, singular or plural, may be found.
    """

    needs = frozenset({"encoder", "gradients"})
    keeps_prompt: ClassVar[bool] = True
    uses_terms: ClassVar[bool] = True

    # -- what an attack says -------------------------------------------------------------------------------

    def templates(self, text: str) -> tuple[str, ...]:
        """Where words may be put: texts with a `SLOT` for each; all are searched, and the best is kept."""
        raise NotImplementedError

    def goal(self, prompts: Sequence[str], context: AttackContext) -> Goal:
        """What is wanted of the conditioning, for each prompt."""
        raise NotImplementedError

    def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
        """The search itself."""
        raise NotImplementedError

    def evaluations(self, goal: Goal) -> int:
        """Rows of a template whose exact evaluation costs as many forward passes as the search."""
        raise NotImplementedError

    # -- what all share ------------------------------------------------------------------------------------

    def searched(self, context: AttackContext) -> TextToImageModel:
        """Whose encoders are searched."""
        return context.hardened

    def baseline(self) -> TokenAttack[T] | None:
        """See `Attack.baseline`."""
        if self.config.at_random:
            return None
        return type(self)(self.config.model_copy(update={"at_random": True}))

    def impossible(self, context: AttackContext) -> str | None:
        """Why these models cannot be attacked like that; None if they can."""
        through = "denoiser" in self.needs
        why = why_not(context.original) if through else None
        # Words in the prompt's place, or in that of the words taken out, have to be found all the same.
        beside = self.keeps_prompt and getattr(self.config, "start", "prompt") == "prompt"
        return why or (context.nothing_to_find(denoiser=through) if beside else None)

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        words = [word for concept in context.policy.concepts for word in concept.words]
        usable = self.usable(context, words)
        for start in range(0, len(prompts), self.config.prompts_at_once):
            part = list(prompts[start : start + self.config.prompts_at_once])
            begun = time.monotonic()
            goal = self.goal(part, context)
            ready = self.ready(part, goal, words, usable, context)
            if self.config.at_random:
                found = random_search(
                    ready.objective, ready.problem, evaluations=max(1, self.evaluations(goal) - 1)
                )
            else:
                found = self.search(ready.objective, ready.problem)
            yield from self.results(part, ready, found, time.monotonic() - begun)

    def usable(self, context: AttackContext, words: Sequence[str]) -> Candidates:
        """The tokens that may be found.

        Raises:
            UsageError: fewer than two are left.
        """
        parts = [re.findall(r"\w+", word.casefold()) for word in words]
        own = {part for each in parts for part in each}
        # A name takes its plural at its end: "de" is a word of "faca de combate", "des" is none.
        ends = WholeWords(each[-1] for each in parts if each)

        def refuse(word: str) -> bool:
            its_own = word.casefold() in own or ends.search(word) is not None
            return names_minor(word) is not None or (not self.uses_terms and its_own)

        model = self.searched(context)
        name, tokenizer = next(iter(model.tokenizers.items()))
        try:
            found = as_read(candidates(tokenizer, refuse=refuse), ids_of(model, name))
            return found.only(numbers(model, found.ids))
        except ValueError as error:
            raise UsageError(f"attack {self.name}: {error}") from error

    def ready(
        self,
        prompts: list[str],
        goal: Goal,
        words: Sequence[str],
        usable: Candidates,
        context: AttackContext,
    ) -> Ready:
        """Templates of the prompts as a problem for a search.

        Raises:
            UsageError: a prompt has no room for the words.
        """
        blank = prompts
        if isinstance(self.config, PrefixConfig) and self.config.start == "blank-term":
            blank = [without(prompt, words) for prompt in prompts]
        model = self.searched(context)
        texts, owner = repeated(model, usable, [self.templates(text) for text in blank])
        try:
            rows = TokenRows(model, usable.templates(texts), (int(usable.ids[0]), int(usable.ids[-1])))
        except ValueError as error:
            raise UsageError(f"attack {self.name}: {error}; shorter prompts or fewer words fit") from error
        objective = ConditioningObjective(rows, goal, torch.tensor(owner))
        problem = Problem(
            ids=rows.ids,
            free=rows.free,
            allowed=usable.ids.to(model.device),
            seeds=tuple(
                (zlib.crc32(prompts[p].encode()) + i - owner.index(p)) ^ self.config.seed
                for i, p in enumerate(owner)
            ),
            accept=rows.accept(),
            at_once=self.config.at_once * (1 + goal.cost) or PASSES_AT_ONCE.get(model.device.type, 16),
            progress=context.progress,
        )
        plain = torch.full((len(prompts),), torch.inf, device=model.device)
        if self.keeps_prompt:
            reached = [
                goal.far(model.encode(blank[i : i + 16]), model.tokenize(blank[i : i + 16]), index)
                for i, index in zip(
                    range(0, len(blank), 16),
                    torch.split(torch.arange(len(blank), device=model.device), 16),
                    strict=True,
                )
            ]
            empty = torch.tensor([not text for text in blank], device=model.device)
            plain = torch.cat(reached).detach().float().masked_fill(empty, torch.inf)
            plain = plain.masked_fill(plain.isnan(), torch.inf)
        return Ready(objective, problem, plain, tuple(blank))

    def results(
        self, prompts: Sequence[str], ready: Ready, found: Found, seconds: float
    ) -> Iterator[AttackResult]:
        """The best text of each prompt."""
        objective, texts = ready.objective, ready.objective.rows.texts(found.ids)
        before = int(getattr(objective.goal, "spent", 1))
        for i, prompt in enumerate(prompts):
            mine = (objective.owner == i).nonzero()[:, 0]
            best = int(mine[found.losses[mine].argmin()])
            loss, plain = float(found.losses[best]), float(ready.plain[i])
            yield AttackResult(
                prompt,
                (texts[best] if loss < plain else ready.blank[i],),
                queries=int(found.forward_passes[mine].sum()) + 1,
                forward_passes=int((objective.passes + found.spared)[mine].sum())
                + before
                + 1
                + objective.goal.cost,
                seconds=seconds / len(prompts),
                notes={"distance": f"{min(loss, plain):.4f}", "plain prompt": f"{plain:.4f}"},
            )


def prefix(words: int, text: str) -> str:
    """The template with ``words`` slots before the text."""
    return " ".join([*[SLOT] * words, *([text] if text else [])])


def without(prompt: str, words: Sequence[str]) -> str:
    """``prompt`` without any of ``words`` (whole words, singular or plural), the longest first."""
    ordered = sorted({word for word in words if word.strip()}, key=lambda w: (-len(w), w))
    if not ordered:
        return prompt
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?:e?s)?(?!\w)", re.IGNORECASE)
    return " ".join(pattern.sub(" ", prompt).split())
