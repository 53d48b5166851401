"""Words before the prompt that bring the old conditioning back: a gradient search through the hardened
encoder.

White box. What is searched is the prefix that makes the hardened model's conditioning nearest to what the
original read from the plain prompt; pictures and the denoiser take no part. Every word is one token that
survives as text.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field

from ..policy.minors import names_minor
from ..search.candidates import SLOT, Candidates, Templates, candidates, round_trip
from ..search.coordinate_descent import coordinate_descent
from ..search.coordinate_gradient import coordinate_gradient
from ..search.problem import Found, Problem
from .base import Attack, AttackConfig, AttackContext, AttackResult
from .encoder_objective import Distance, NearOriginal


class GcgEncoderConfig(AttackConfig):
    """Settings of ``gcg-encoder``; defaults are those of Zou et al., appendix."""

    words: int = Field(default=5, ge=1, le=32, description="Words put before the prompt.")
    steps: int = Field(default=500, ge=1, description="Gradients taken a prompt.")
    candidates: int = Field(default=512, ge=1, description="Prefixes evaluated exactly a step.")
    top: int = Field(default=256, ge=1, description="Best-ranked words of a position that are drawn from.")
    search: Literal["gradient", "descent"] = Field(
        default="gradient",
        description="gradient: candidates change any position; descent: one position after the other.",
    )
    distance: Distance = Field(
        default="flat",
        description="flat: cosine of the whole conditioning; position: every position counts alike.",
    )
    prompts_at_once: int = Field(default=32, ge=1, description="Prompts attacked together.")
    at_once: int = Field(default=256, ge=1, description="Rows encoded together: as many as fit into memory.")


class GcgEncoder(Attack[GcgEncoderConfig]):
    """Coordinate gradient or coordinate descent over a prefix."""

    name = "gcg-encoder"
    summary = "a prefix found by gradients that brings the original conditioning back"
    source = "Zou et al. 2023, arXiv 2307.15043, algorithm 1, on the conditioning"
    threat = "encoder"
    needs = frozenset({"encoder", "gradients"})
    Config = GcgEncoderConfig
    small = {"steps": 40, "candidates": 48, "top": 64}  # noqa: RUF012

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        tokenizer = next(iter(context.hardened.tokenizers.values()))
        usable = candidates(tokenizer, refuse=lambda word: names_minor(word) is not None)
        for start in range(0, len(prompts), self.config.prompts_at_once):
            part = list(prompts[start : start + self.config.prompts_at_once])
            begun = time.monotonic()
            objective, found = self.search(part, usable, context)
            seconds = (time.monotonic() - begun) / len(part)
            index = torch.arange(len(part), device=context.device)
            texts = objective.templates.write(found.ids.gather(1, objective.free[objective.first]), index)
            for i, prompt in enumerate(part):
                loss, plain = float(found.losses[i]), float(objective.plain[i])
                passes = int(found.forward_passes[i])
                yield AttackResult(
                    prompt,
                    (texts[i] if loss < plain else prompt,),
                    queries=passes + 1,
                    forward_passes=passes + 2,
                    seconds=seconds,
                    notes={"distance": f"{min(loss, plain):.4f}", "plain prompt": f"{plain:.4f}"},
                )

    def search(
        self, prompts: Sequence[str], usable: Candidates, context: AttackContext
    ) -> tuple[NearOriginal, Found]:
        """The objective of these prompts, and the best prefixes."""
        config = self.config
        templates = Templates(
            tuple(" ".join([*[SLOT] * config.words, prompt]) for prompt in prompts),
            dict(zip(usable.ids.tolist(), usable.words, strict=True)),
        )
        fillers = (int(usable.ids[0]), int(usable.ids[-1]))
        objective = NearOriginal(
            context.original, context.hardened, prompts, templates, fillers, config.distance
        )
        device = context.device
        problem = Problem(
            ids=objective.ids,
            free=objective.free[objective.first],
            allowed=usable.ids.to(device),
            seeds=tuple(zlib.crc32(prompt.encode()) ^ config.seed for prompt in prompts),
            accept=round_trip(objective.tokenize, templates, objective.free[objective.first]),
            at_once=config.at_once,
            progress=context.progress,
        )
        with torch.no_grad():
            if config.search == "descent":
                return objective, coordinate_descent(
                    objective, problem, steps=config.steps, candidates=config.candidates
                )
            return objective, coordinate_gradient(
                objective, problem, steps=config.steps, candidates=config.candidates, top=config.top
            )
