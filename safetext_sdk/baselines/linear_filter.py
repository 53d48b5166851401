"""A linear classifier on the original's embedding that refuses prompts: the plainest prompt filter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..models import Conditioning, TextToImageModel
from ..models.families.conditioning import Tokens
from ..models.pipelines import pictures_of
from .base import Baseline, BaselineConfig, BaselineContext, Learned
from .defended import Defence, DefendedModel, Draw, Encode, rows
from .readings import embed, embedding


class LinearFilterConfig(BaselineConfig):
    """Settings of ``filter``."""

    prompts: int = Field(default=1000, ge=2, description="Prompts of each kind that it learns from.")
    shrinkage: float = Field(
        default=0.1, ge=0, le=1, description="How far the covariance is drawn to a sphere of equal volume."
    )
    false_alarms: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Share of the validation split's safe prompts that it may refuse.",
    )
    answer: Literal["blank", "anchor"] = Field(
        default="blank", description="What a refused prompt gets: a black picture, or the policy's anchor's."
    )


def discriminant(unsafe: Tensor, safe: Tensor, shrinkage: float) -> Tensor:
    """Linear discriminant analysis: ``w [d]`` with ``S w = mean(unsafe) - mean(safe)``, ``S`` the covariance
    within the two kinds (``[n, d]`` each), shrunk to ``(1 - a) S + a tr(S)/d I``. In float64."""
    kinds = [kind.double() for kind in (unsafe, safe)]
    centred = torch.cat([kind - kind.mean(dim=0) for kind in kinds])
    within = centred.T @ centred / len(centred)
    size = within.diagonal().mean().clamp_min(1e-12)
    within = (1 - shrinkage) * within + shrinkage * size * torch.eye(len(within), dtype=within.dtype)
    weight: Tensor = torch.linalg.solve(within, kinds[0].mean(dim=0) - kinds[1].mean(dim=0))
    return weight


class Refusal(Defence):
    """Prompts whose score ``w x - threshold`` is positive are not drawn.

    Args:
        model: the undefended one.
        learned: ``weight [d]``, ``threshold []``.
        anchor: the prompt that stands for a refused one.
    """

    def __init__(self, model: TextToImageModel, learned: Learned, answer: str, anchor: str) -> None:
        self.weight, self.threshold = learned["weight"].double(), float(learned["threshold"])
        parts = [self.weight.numpy(), np.float64(self.threshold)]
        digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
        super().__init__({"filter": digest, "answer": answer, "anchor": anchor})
        self.plain, self.anchor, self.blank = model, anchor, answer == "blank"

    def refused(self, x: Tensor) -> Tensor:
        """``[b]`` bool, on the CPU, for embeddings ``[b, d]``."""
        return x.cpu().double() @ self.weight > self.threshold

    def condition(self, encode: Encode, tokens: Tokens) -> Conditioning:
        """A refused prompt conditions like what stands for it."""
        given = encode(tokens)
        x = embedding(self.plain, self.plain.pieces(given, tokens), tokens)
        gone = self.refused(x)
        if not bool(gone.any()):
            return given
        instead = encode(self.plain.tokenize(["" if self.blank else self.anchor]))

        def answered(old: Tensor, new: Tensor) -> Tensor:
            return torch.where(gone.reshape(-1, *[1] * (old.ndim - 1)).to(old.device), new.to(old), old)

        return Conditioning({k: answered(v, instead.tensors[k]) for k, v in given.tensors.items()})

    def draw(self, model: DefendedModel, draw: Draw, arguments: dict[str, Any]) -> Any:
        gone = self.refused(embed(self.plain, arguments["prompt"])).tolist()
        if not self.blank:
            texts = zip(gone, arguments["prompt"], strict=True)
            return draw(**{**arguments, "prompt": [self.anchor if no else text for no, text in texts]})
        # Where all are refused, one is drawn all the same: it says what a picture of this pipeline is.
        chosen = [i for i, no in enumerate(gone) if not no] or [0]
        out = draw(**rows(arguments, chosen))
        pixels = np.asarray(pictures_of(out))
        images = np.zeros((len(gone), *pixels.shape[1:]), pixels.dtype)
        for i, image in zip(chosen, pixels, strict=True):
            images[i] = 0 if gone[i] else image
        out.images = images
        return out


class LinearFilter(Baseline[LinearFilterConfig]):
    """Fitted on the policy's training prompts, with its threshold on the validation split. It never looks at
    a negative prompt, and what it lets through is drawn as ever."""

    name = "filter"
    summary = "a linear classifier on the original's embedding; what it refuses is not drawn"
    source = "Fisher's linear discriminant; as a prompt filter cf. Latent Guard, arXiv 2404.08031"
    Config = LinearFilterConfig

    def learn(self, context: BaselineContext) -> Learned:
        train, held = context.book.train, context.book.validation
        unsafe = self._some([u.text for u in train.unsafe])
        safe = self._some([p.text for p in (*train.safe, *train.borderline)])
        weight = discriminant(
            embed(context.original, unsafe), embed(context.original, safe), self.config.shrinkage
        )
        known = self._some([p.text for p in (*held.safe, *held.borderline)]) or safe
        scores = embed(context.original, known).double() @ weight
        threshold = scores.quantile(1 - self.config.false_alarms, interpolation="higher")
        return {"weight": weight, "threshold": threshold}

    def _some(self, prompts: Sequence[str]) -> list[str]:
        """At most as many as the settings say, spread evenly."""
        every = list(dict.fromkeys(prompts))
        return every[:: max(1, -(-len(every) // self.config.prompts))]

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        anchor = next((anchor for _, anchor in context.words if anchor), "")
        return DefendedModel.of(
            context.original, Refusal(context.original, learned, self.config.answer, anchor)
        )
