"""SDXL: hidden_states[-2] of both encoders joined on the feature axis, plus encoder 2's pooled, projected
``text_embeds``.

* No final LayerNorm is applied; clip_skip k reads hidden_states[-(k+2)]. The pooled vector still comes from
  the last layer.
* Attention masks are never passed, whatever the configuration says.
* With no negative prompt given and ``force_zeros_for_empty_prompt`` in the pipeline's configuration, the
  negative side is zeros: no encoder is read. An explicit "" is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...errors import ModelError
from ..layout import CLIP, CLIP_PROJECTED
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Pieces, Tokens
from .ldm_keys import SingleFile
from .model_folder import ModelFolder
from .tools import checked_skip, expand_learned_tokens, hidden_state, layer_count, pad_to_max

_NAMES = ("text_encoder", "text_encoder_2")


class SDXL(Family):
    name = "sdxl"
    title = "Stable Diffusion XL"
    encoders = (
        EncoderSpec(_NAMES[0], CLIP, frozenset({"penultimate"})),
        EncoderSpec(_NAMES[1], CLIP_PROJECTED, frozenset({"penultimate", "text_embeds"})),
    )
    pipelines = ("StableDiffusionXL",)
    single_file = SingleFile(
        prefixes={
            _NAMES[0]: "conditioner.embedders.0.transformer.",
            _NAMES[1]: "conditioner.embedders.1.model.",
        },
        companion="stabilityai/stable-diffusion-xl-base-1.0",
        pipeline="StableDiffusionXLPipeline",
    )
    lora_by_pipeline = frozenset(_NAMES)
    self_contained = True

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        return {"force_zeros_for_empty_prompt": bool(folder.index.get("force_zeros_for_empty_prompt", True))}

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        return {
            name: pad_to_max(
                tokenizers[name], expand_learned_tokens(prompts, tokenizers[name]), (lengths or {}).get(name)
            )
            for name in _NAMES
            if name in tokenizers
        }

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        states, pooled = [], None
        for name in _NAMES:
            if name not in encoders:  # the refiner has the second encoder only
                continue
            encoder = encoders[name]
            skip = checked_skip(clip_skip, layer_count(encoder), 1)
            output = encoder(tokens[name]["input_ids"], output_hidden_states=True)
            embeds = getattr(output, "text_embeds", None)
            if pooled is None and embeds is not None:
                pooled = embeds
            states.append(hidden_state(output, -2 if skip is None else -(skip + 2)))
        if pooled is None:
            raise ModelError(
                "no encoder of this SDXL model gives the pooled, projected text_embeds; text_encoder_2 must "
                "be a CLIPTextModelWithProjection"
            )
        last = encoders.get("text_encoder_2", encoders.get("text_encoder"))
        assert last is not None
        return Conditioning(
            {"prompt_embeds": torch.cat(states, dim=-1).to(last.dtype), "pooled_prompt_embeds": pooled}
        )

    def negative(
        self, condition_empty: Conditioning, *, given: bool, options: Mapping[str, Any]
    ) -> Conditioning:
        if given or not options.get("force_zeros_for_empty_prompt", True):
            return condition_empty
        return Conditioning({name: torch.zeros_like(t) for name, t in condition_empty.tensors.items()})

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        names = [n for n in _NAMES if n in encoders]
        widths = [int(encoders[n].config.hidden_size) for n in names]
        out: Pieces = dict(
            zip(names, torch.split(conditioning.tensors["prompt_embeds"], widths, dim=-1), strict=True)
        )
        out[f"{names[-1]}_pooled"] = conditioning.tensors["pooled_prompt_embeds"]
        return out

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        states = [pieces[name] for name in _NAMES if name in pieces]
        pooled = next(piece for name, piece in pieces.items() if name.endswith("_pooled"))
        return Conditioning({"prompt_embeds": torch.cat(states, dim=-1), "pooled_prompt_embeds": pooled})


FAMILY = SDXL()
