"""What the frozen denoiser makes of a conditioning, for losses and adversaries: see `Denoiser`.

Moments of real pictures are recorded: the original's pipeline is called as a user calls it, and all that its
denoiser is given at each step is kept. A prediction plays such a moment again with another conditioning, so
this works for every diffusers pipeline whose denoiser takes its prompt as ``encoder_hidden_states`` and reads
all its positions: a mask would be that of the recorded prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ..errors import UsageError
from ..models.families import Conditioning
from .base import MethodConfig
from .context import MethodContext


class NoiseConfig(MethodConfig):
    """Settings of whatever looks at the denoiser's predictions."""

    pictures: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Pictures of unsafe prompts, for each concept, and as many of safe ones, from whose "
        "steps the moments are taken that noise is predicted at.",
    )
    picture_steps: int = Field(default=50, ge=1, le=1000, description="Denoising steps of those pictures.")
    picture_size: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Their height and width in pixels; absent = the pipeline's own.",
    )
    picture_guidance: float = Field(
        default=3.0, ge=1, le=50, description="Their guidance, where the pipeline has one."
    )


@dataclass(frozen=True)
class Moment:
    """What the denoiser was given at one step of one picture; the prompt's side of guidance only."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Denoiser:
    """A model's denoiser, frozen, beside the encoders in training.

    Args:
        context: of the method; its pipeline is loaded now.

    Raises:
        UsageError: the model has no denoiser, or one that reads its prompt in a way not known here.
    """

    def __init__(self, context: MethodContext) -> None:
        if not context.family.makes_pictures:
            raise UsageError("this needs a denoiser; a text encoder alone has none")
        if not context.family.pads_are_read:
            # Moments hold the mask of the prompt that was drawn: another prompt would be read through it.
            raise UsageError(
                f"the denoiser of {context.family.title} takes a mask or the length of its prompt, which "
                "methods that read its predictions do not write; anchor, safetext, des, sage do without"
            )
        self.context, self.pipeline = context, context.pipeline()
        module = getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)
        if module is None:
            raise UsageError(f"a {type(self.pipeline).__name__} has no unet and no transformer")
        self.module: nn.Module = module.requires_grad_(False)

    @torch.no_grad()
    def record(self, prompts: Sequence[str], config: NoiseConfig, seed: int) -> list[list[Moment]]:
        """The moments of one picture of each prompt, made by the original."""
        out, size = [], config.picture_size
        asked = {
            **self.context.generation,
            **({} if size is None else {"height": size, "width": size}),
            "num_inference_steps": config.picture_steps,
            "guidance_scale": config.picture_guidance,
        }
        for number, prompt in enumerate(prompts):
            seen: list[Moment] = []
            handle = self.module.register_forward_pre_hook(_catch(seen), with_kwargs=True)
            try:
                self.pipeline(
                    prompt,
                    generator=torch.Generator().manual_seed(seed * 100_003 + number),
                    output_type="latent",
                    **asked,
                )
            finally:
                handle.remove()
            if not seen or "encoder_hidden_states" not in seen[0].kwargs:
                raise UsageError(
                    f"the denoiser of a {type(self.pipeline).__name__} takes no encoder_hidden_states"
                )
            out.append(seen)
        return out

    def predict(self, moments: Sequence[Moment], conditioning: Conditioning) -> Tensor:
        """What the denoiser predicts, [b, ...]; gradients flow to the conditioning.

        Args:
            moments: b of them.
            conditioning: of b prompts.
        """
        dtype = next(self.module.parameters()).dtype
        given = {name: t.to(dtype) for name, t in conditioning.tensors.items()}
        args = tuple(_joined([m.args[i] for m in moments]) for i in range(len(moments[0].args)))
        kwargs = {key: _joined([m.kwargs[key] for m in moments]) for key in moments[0].kwargs}
        kwargs["encoder_hidden_states"] = given["prompt_embeds"]
        pooled = given.get("pooled_prompt_embeds")
        if "pooled_projections" in kwargs:
            kwargs["pooled_projections"] = pooled
        if "text_embeds" in (kwargs.get("added_cond_kwargs") or {}):
            kwargs["added_cond_kwargs"] = {**kwargs["added_cond_kwargs"], "text_embeds": pooled}
        found: Tensor = self.module(*args, **{**kwargs, "return_dict": False})[0]
        return found.float()


def reading_matrix(denoiser: nn.Module) -> Tensor | None:
    """G [d, d]: the sum of K'K + V'V over the cross-attention layers, at a mean diagonal of 1.

    A UNet reads the sequence of its conditioning through these layers only (UCE, Gandikota et al. 2024,
    arXiv 2308.14761, section 4, edits the same matrices), so x'Gx is the size of a change as it sees it. None
    where there are no such layers: SD 3 and FLUX attend to prompt and picture together.
    """
    total: Tensor | None = None
    for name, part in denoiser.named_modules():
        if name.endswith("attn2") and hasattr(part, "to_k") and hasattr(part, "to_v"):
            for weight in (part.to_k.weight, part.to_v.weight):
                matrix = weight.detach().float().T @ weight.detach().float()
                total = matrix if total is None else total + matrix
    return None if total is None else total / total.diagonal().mean()


def _catch(seen: list[Moment]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        latents = args[0] if args else kwargs["hidden_states"]
        rows = len(latents)
        seen.append(
            Moment(tuple(_last(a, rows) for a in args), {k: _last(v, rows) for k, v in kwargs.items()})
        )

    return hook


def _last(value: Any, rows: int) -> Any:
    """The last row of what has a row for each side of guidance: the prompt's."""
    if isinstance(value, Tensor):
        return value[-1:].detach() if value.ndim and len(value) == rows else value.detach()
    return {k: _last(v, rows) for k, v in value.items()} if isinstance(value, dict) else value


def _joined(values: Sequence[Any]) -> Any:
    """The values of b moments as one: rows joined, single numbers stacked, all else as the first has it."""
    first = values[0]
    if isinstance(first, Tensor):
        if first.ndim == 0:
            return torch.stack(list(values))
        return torch.cat(list(values)) if len(first) == 1 else first
    return {k: _joined([v[k] for v in values]) for k in first} if isinstance(first, dict) else first


@dataclass(frozen=True)
class Moments:
    """Moments by concept (index into ``table.concepts``), and those of safe prompts."""

    unsafe: tuple[tuple[Moment, ...], ...]
    safe: tuple[Moment, ...]

    @staticmethod
    def of(context: MethodContext, denoiser: Denoiser, config: NoiseConfig) -> Moments:
        """Pictures of training prompts, drawn by the run's seed."""
        table, draw = context.table, context.generator(977)

        def some(rows: Any, seed: int) -> tuple[Moment, ...]:
            texts = [table.texts[row] for row in draw.permutation(rows)[: config.pictures]]
            return tuple(m for picture in denoiser.record(texts, config, seed) for m in picture)

        unsafe = [
            some(table.unsafe[table.concept == k], context.seed + k) for k in range(len(table.concepts))
        ]
        rows = table.safe if len(table.safe) else table.anchor
        return Moments(tuple(unsafe), some(rows, context.seed + len(unsafe)))

    def draw(self, context: MethodContext, step: int, concepts: Sequence[int | None]) -> list[Moment]:
        """A moment for each prompt, of its concept (None: a safe prompt's); a function of seed and step."""
        generator = context.generator(1_000_003 + step)
        pools = [self.safe if k is None else self.unsafe[k] for k in concepts]
        return [pool[int(generator.integers(len(pool)))] for pool in pools]
