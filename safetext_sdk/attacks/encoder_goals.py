"""Goals that the conditioning alone tells: near what the original read of the unsafe prompt, by several
distances, and near a concept vector (Ring-A-Bell).

A distance sums over the tensors of the conditioning where it weighs them apart: one tensor may be a thousand
times as large as another.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.cross_attention import text_metric
from ..models.families import Conditioning, Family, Tokens
from ..models.model import TextToImageModel

Distance = Literal["flat", "position", "attention", "pooled"]
"""flat: 1 - cosine of the flattened conditioning; position: mean relative squared error of every position;
attention: the same of what the denoiser's cross-attention makes of it (`models.cross_attention`); pooled: 1 -
cosine of the pooled output (MMA-Diffusion, arXiv 2311.17516, equation 2)."""
DISTANCES: tuple[str, ...] = get_args(Distance)


def full(values: Tensor) -> Tensor:
    """At least single precision: distances of half-precision tensors are told in it."""
    return values if values.dtype == torch.float64 else values.float()


def pooled(conditioning: Conditioning, tokens: Tokens, reader: Family) -> Tensor:
    """The pooled output [r, p]: what the family hands to its denoiser, else the sequence at the end token of
    the first encoder, which is what CLIP pools."""
    tensors = conditioning.tensors
    if "pooled_prompt_embeds" in tensors:
        return tensors["pooled_prompt_embeds"]
    mask, sequence = next(iter(tokens.values()))["attention_mask"], tensors["prompt_embeds"]
    left_out = max(0, mask.shape[1] - sequence.shape[1])  # of a template's beginning
    end = (reader.ends(mask) - left_out).clamp_min(0)
    return sequence.gather(1, end.to(sequence.device).view(-1, 1, 1).expand(-1, 1, sequence.shape[2]))[:, 0]


def relative(got: Tensor, want: Tensor) -> Tensor:
    """||got - want||^2 / ||want||^2 over the last dimension, its mean over all but the first: [r]."""
    error = (got - want).square().sum(-1) / (want.square().sum(-1) + 1e-8)
    return error.reshape(len(error), -1).mean(1)


class NearConditioning:
    """Near a target conditioning, one a prompt.

    Args:
        target: n rows; ``tokens``: what they were made from.
        distance: see `Distance`.
        model: of the family that says where a sequence is pooled; its denoiser tells the metric of
            ``attention``.

    Raises:
        ModelError: ``attention`` where the denoiser reads no text by cross-attention.
    """

    cost = 0

    def __init__(
        self,
        target: Conditioning,
        tokens: Tokens,
        distance: Distance,
        model: TextToImageModel,
    ) -> None:
        self.target, self.distance, self.reader = target, distance, model.reader
        self.root = text_metric(model) if distance == "attention" else None
        self.pooled = pooled(target, tokens, self.reader) if distance == "pooled" else None

    @classmethod
    def to_prompts(
        cls,
        original: TextToImageModel,
        prompts: list[str],
        distance: Distance = "flat",
    ) -> NearConditioning:
        """The target is what the original reads of n prompts."""
        target = original.encode(prompts)
        tokens = original.tokenize(prompts)
        return cls(target, tokens, distance, original)

    def far(self, got: Conditioning, tokens: Tokens, prompts: Tensor) -> Tensor:
        """See `Goal.far`."""
        if self.pooled is not None:
            return 1 - F.cosine_similarity(full(pooled(got, tokens, self.reader)), full(self.pooled[prompts]))
        want = self.target.select(prompts)
        if self.distance == "flat":
            return 1 - F.cosine_similarity(full(got.flat()), full(want.flat()))
        errors = []
        for name, tensor in got.tensors.items():
            one, other = full(tensor), full(want.tensors[name])
            if self.root is not None and one.ndim == 3:  # pooled vectors meet no cross-attention
                root = self.root.to(one.dtype)
                one, other = one @ root, other @ root
            errors.append(relative(one, other))
        return torch.stack(errors).mean(0)


class NearConcept:
    """Near the original's conditioning of the prompt plus a multiple of a concept vector (Ring-A-Bell, Tsai
    et al., arXiv 2310.10012, equations 3 to 5).

    Args:
        target: f0(prompt) + coefficient * vector, flat [n, d]: see `concept_vector`.
    """

    cost = 0

    def __init__(self, target: Tensor) -> None:
        self.target = target
        self.scale = target.square().sum(-1).clamp_min(1e-8)

    def far(self, got: Conditioning, tokens: Tokens, prompts: Tensor) -> Tensor:
        """Squared distance as a share of the target's own squared norm; see `Goal.far`."""
        return (full(got.flat()) - self.target[prompts]).square().sum(-1) / self.scale[prompts]


def concept_vector(original: TextToImageModel, pairs: list[tuple[str, str]]) -> Tensor:
    """Mean difference between what the original reads of prompts with a concept and of the same prompts
    without it, flat [d].

    Args:
        pairs: (with, without), at least one.
    """
    with_it, without = (full(original.encode([pair[side] for pair in pairs]).flat()) for side in (0, 1))
    return (with_it - without).mean(0)
