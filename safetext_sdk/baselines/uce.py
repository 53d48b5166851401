"""UCE: the weights by which the denoiser reads a text are edited in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..models import TextToImageModel
from .base import Baseline, BaselineConfig, BaselineContext, Learned
from .defended import denoiser_name, with_denoiser
from .readings import last_words


class UceConfig(BaselineConfig):
    """Settings of ``uce``; the names of the published script in brackets."""

    erase_scale: float = Field(default=1.0, gt=0, description="Weight of what is erased (erase_scale).")
    preserve_scale: float = Field(default=1.0, ge=0, description="Weight of what is kept (preserve_scale).")
    regularisation: float = Field(default=0.5, gt=0, description="Weight of the old weights (lamb).")
    guide: Literal["empty", "anchor"] = Field(
        default="empty", description="What an erased word becomes: the empty prompt, or its anchor prompt."
    )
    preserve: int = Field(
        default=200,
        ge=0,
        description="Safe training prompts that are kept; the script has none unless they are named.",
    )


def edit(weight: Tensor, erase: tuple[Tensor, Tensor], keep: Tensor, config: UceConfig) -> Tensor:
    """Equation 7 of the paper: the ``W [o, d]`` that sends erased vectors to their guides' old outputs, kept
    ones to their own, and stays near the old weights.

    ``W = (l W0 + a sum W0 g c' + b sum W0 k k') (l I + a sum c c' + b sum k k')^-1``

    Args:
        weight: ``W0 [o, d]``.
        erase: vectors c ``[n, d]``, and what each becomes, g ``[n, d]``.
        keep: vectors k ``[m, d]``; m may be 0.
    """
    old = weight.double()
    c, g, k = (x.to(old) for x in (*erase, keep))
    eye = torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
    a, b, size = config.erase_scale, config.preserve_scale, config.regularisation
    goal = size * eye + a * g.T @ c + b * k.T @ k
    seen = size * eye + a * c.T @ c + b * k.T @ k
    new: Tensor = torch.linalg.solve(seen, old @ goal, left=False).to(weight.dtype)
    return new


def text_weights(denoiser: nn.Module) -> dict[str, Literal["sequence", "pooled"]]:
    """The linear maps that read the conditioning itself: keys and values of cross-attention; of transformers
    with joint attention, which have none, the embedders of the text. By name, with what each reads."""
    linear = [name for name, module in denoiser.named_modules() if isinstance(module, nn.Linear)]
    cross = [name for name in linear if ".attn2." in name and name.endswith((".to_k", ".to_v"))]
    if cross:
        return dict.fromkeys(cross, "sequence")
    return {
        name: "pooled" if name.endswith("text_embedder.linear_1") else "sequence"
        for name in linear
        if name.endswith(("context_embedder", "text_embedder.linear_1"))
    }


class Uce(Baseline[UceConfig]):
    """Words of the training split, each at its last token, to the guide. Seconds, no pictures."""

    name = "uce"
    summary = "the denoiser's text weights edited in closed form"
    source = "UCE, arXiv 2308.14761, equation 7; defaults of its published script"
    Config = UceConfig

    def impossible(self, model: TextToImageModel) -> str:
        if not model.reader.makes_pictures:
            return "the model has no denoiser"
        pipe = model.pipeline()
        found = text_weights(getattr(pipe, denoiser_name(pipe))) if denoiser_name(pipe) else {}
        return "" if found else "its denoiser has no linear map that reads the text"

    @torch.no_grad()
    def learn(self, context: BaselineContext) -> Learned:
        model, config = context.original, self.config
        pipe = model.pipeline()
        denoiser = getattr(pipe, denoiser_name(pipe))
        words = [word for word, _ in context.words]
        guides = [anchor if config.guide == "anchor" else "" for _, anchor in context.words]
        safe = [p.text for p in context.book.train.safe]
        kept = safe[:: max(1, -(-len(safe) // config.preserve))] if config.preserve else []
        vectors = {kind: _vectors(model, kind, words, guides, kept) for kind in ("sequence", "pooled")}
        maps, out = text_weights(denoiser), {}
        for done, (name, kind) in enumerate(maps.items(), 1):
            found = vectors[kind]
            if found is not None:
                erased, guided, keep = found
                out[f"{name}.weight"] = edit(
                    denoiser.get_submodule(name).weight, (erased, guided), keep, config
                ).cpu()
            context.progress(done, len(maps))
        return out

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        return with_denoiser(context.original, learned)


def _vectors(model: TextToImageModel, kind: str, *texts: Sequence[str]) -> tuple[Any, ...] | None:
    """What a kind of map reads of each list of texts; None where the model has no such part."""
    found = []
    for each in texts:
        sequence, whole = last_words(model, list(each) or [""])
        vectors = sequence if kind == "sequence" else whole
        if vectors is None:
            return None
        found.append(vectors.float() if each else vectors[:0].float())
    return tuple(found)
