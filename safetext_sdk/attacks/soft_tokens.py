"""Free vectors before the prompt: what an attacker reaches who is not bound to words.

The strongest attack through the encoder, and no fair one: nobody types a vector, but whoever has the weights
can put them in as learned tokens. Every prompt gets vectors of its own, optimised towards what the original
made of it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..models.families import Conditioning
from .base import AttackConfig, AttackContext, AttackResult, Changed
from .denoising import Denoising, pictures, why_not
from .learned_tokens import Learner, add_tokens, learner, typical_size
from .probe import Prepared, Probe
from .word_search import drawable_words

Goal = Literal["conditioning", "denoiser"]


class SoftTokensConfig(AttackConfig):
    """Settings of ``soft-tokens``."""

    tokens: int = Field(default=5, ge=1, le=32, description="Vectors before the prompt.")
    steps: int = Field(default=500, ge=1, description="Steps of Adam.")
    learning_rate: float = Field(
        default=0.1, gt=0, description="In units of the standard deviation of the token embeddings."
    )
    goal: Goal = Field(
        default="conditioning",
        description="conditioning: what the denoiser reads; denoiser: what it predicts from that.",
    )
    prompts_at_once: int = Field(default=16, ge=1, description="Prompts attacked together.")


class SoftTokens(Probe[SoftTokensConfig]):
    """Vectors of each prompt's own, as new tokens of the hardened model."""

    name = "soft-tokens"
    summary = "free vectors before the prompt, optimised through the hardened encoder"
    source = "soft prompts after Lester et al. 2021, arXiv 2104.08691"
    needs = frozenset({"encoder", "gradients"})
    Config = SoftTokensConfig
    small = {"steps": 120}  # noqa: RUF012

    def impossible(self, context: AttackContext) -> str | None:
        if self.config.goal == "conditioning":
            return context.nothing_to_find()
        if not context.original.reader.makes_pictures:
            return "there is no denoiser"
        return why_not(context.original) or context.nothing_to_find(denoiser=True)

    def prepare(self, prompts: Sequence[str], context: AttackContext) -> Prepared:
        words = drawable_words(context)
        names = {prompt: self.names(prompt) for prompt in prompts}
        start = {
            name: (word,)
            for prompt in prompts
            for name, word in zip(
                names[prompt], self.random(prompt).choices(words, k=self.config.tokens), strict=True
            )
        }
        soft = learner(context.hardened, list(start), start)
        results = []
        for begin in range(0, len(prompts), self.config.prompts_at_once):
            part = list(prompts[begin : begin + self.config.prompts_at_once])
            texts = [" ".join([*names[prompt], prompt]) for prompt in part]
            begun = time.monotonic()
            left = self.optimise(part, texts, soft, context)
            for prompt, text, loss in zip(part, texts, left.tolist(), strict=True):
                results.append(
                    AttackResult(
                        prompt,
                        (text,),
                        queries=self.config.steps,
                        forward_passes=2 * self.config.steps + 1,
                        seconds=(time.monotonic() - begun) / len(part),
                        notes={"loss": f"{loss:.4f}"},
                    )
                )
        found = soft.written()
        models = (add_tokens(model, soft.names, found) for model in (context.hardened, context.original))
        return Prepared(Changed(*models), tuple(results))

    def names(self, prompt: str) -> list[str]:
        """Tokens of a prompt, whatever else is attacked."""
        return [f"<soft-{zlib.crc32(prompt.encode()):08x}-{k}>" for k in range(self.config.tokens)]

    def optimise(
        self, prompts: Sequence[str], texts: Sequence[str], soft: Learner, context: AttackContext
    ) -> Tensor:
        """Train the vectors of some prompts; their last losses [n]."""
        goal = self._denoised(prompts, context) if self.config.goal == "denoiser" else None
        target = context.original.encode(prompts)
        tokens = soft.model.tokenize(texts)
        groups = [
            {"params": [vector], "lr": self.config.learning_rate * typical_size(context.hardened, name)}
            for name, vector in soft.vectors.items()
        ]
        adam = torch.optim.Adam(groups)  # new for every batch: vectors of other prompts have no momentum
        losses = torch.zeros(len(prompts))
        for step in range(self.config.steps):
            adam.zero_grad()
            with torch.enable_grad(), soft.reading() as model:
                got = model.condition(tokens)
                losses = far(got, target) if goal is None else goal(got, target)
                torch.autograd.backward(losses.sum(), inputs=list(soft.vectors.values()))
            adam.step()
            context.progress(step + 1, self.config.steps)
        return losses.detach().cpu()

    def _denoised(self, prompts: Sequence[str], context: AttackContext) -> DenoisedFar:
        seeds = [zlib.crc32(prompt.encode()) ^ self.config.seed for prompt in prompts]
        latents = torch.cat(
            [pictures(context.original, [p], s % 2**31) for p, s in zip(prompts, seeds, strict=True)]
        )
        return DenoisedFar(Denoising(context.original), latents, seeds, context.hardened.denoiser)


class DenoisedFar:
    """How far a denoiser's prediction is from the original's for the original's conditioning, on noised
    latents of the original's own pictures, with other noise at every call.

    Args:
        denoising: of the original. latents: [n, c, h, w]. seeds: one a prompt. attacked: the denoiser of the
            model under attack.
    """

    def __init__(
        self, denoising: Denoising, latents: Tensor, seeds: Sequence[int], attacked: nn.Module
    ) -> None:
        self.denoising, self.latents, self.attacked = denoising, latents, attacked
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, got: Conditioning, want: Conditioning) -> Tensor:
        steps = torch.cat([self.denoising.draw_steps(1, g) for g in self.generators])
        noise = torch.stack([torch.randn(self.latents.shape[1:], generator=g) for g in self.generators]).to(
            self.latents
        )
        noised, _ = self.denoising.mixed(self.latents, noise, steps)
        with torch.no_grad():
            wanted = self.denoising.predict(noised, steps, want)
        predicted = self.denoising.predict(noised, steps, got, self.attacked)
        return (predicted.float() - wanted.float()).square().flatten(1).mean(1)


def far(got: Conditioning, want: Conditioning) -> Tensor:
    """1 - cosine of the whole conditioning plus the relative squared error of its tensors [n]: angle and size
    both count."""
    angle = 1 - F.cosine_similarity(got.flat().float(), want.flat().float())
    errors = [
        (a.float() - b.float()).square().flatten(1).sum(1) / (b.float().square().flatten(1).sum(1) + 1e-8)
        for a, b in zip(got.tensors.values(), want.tensors.values(), strict=True)
    ]
    return angle + torch.stack(errors).mean(0)
