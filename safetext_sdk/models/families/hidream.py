"""HiDream-I1: both CLIPs' projected vectors, T5's last_hidden_state, and every layer of Llama; 128 positions.

The denoiser picks layers of Llama by its own configuration (``llama_layers``), one for each of its blocks;
what it never picks is no conditioning. Nothing is masked: pad positions are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...policy.languages import LATIN
from ..layout import CLIP_PROJECTED, LLAMA, T5
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Pieces, Tokens
from .decoder import body, decoder_layers
from .model_folder import ModelFolder
from .tools import pad_to_max

_CLIPS = ("text_encoder", "text_encoder_2")
_T5, _LLAMA = "text_encoder_3", "text_encoder_4"
LENGTH = 128
"""The pipeline's default ``max_sequence_length``, of all four encoders."""


class HiDream(Family):
    name = "hidream"
    title = "HiDream-I1"
    encoders = (
        *(EncoderSpec(name, CLIP_PROJECTED, frozenset({"text_embeds"})) for name in _CLIPS),
        EncoderSpec(_T5, T5, frozenset({"last_hidden_state"}), causal=False, tokenizer="T5TokenizerFast"),
        EncoderSpec(_LLAMA, LLAMA, frozenset({"middle_layers"}), tokenizer="PreTrainedTokenizerFast"),
    )
    pipelines = ("HiDreamImage",)
    languages = LATIN  # Llama reads more, T5 beside it does not

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        layers = folder.config("transformer").get("llama_layers")
        return {"llama_layers": sorted(set(layers))} if layers else {}

    def layers_read(self, encoder: str, module: Any) -> int | None:
        return None

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        out: Tokens = {}
        for name, tokenizer in tokenizers.items():
            if name == _LLAMA:
                tokenizer.pad_token = tokenizer.eos_token  # as the pipeline does when it is built
            longest = 218 if name in _CLIPS else int(tokenizer.model_max_length)
            out[name] = pad_to_max(tokenizer, prompts, min((lengths or {}).get(name, LENGTH), longest))
        return out

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        self.refuse(clip_skip)
        pooled = [
            encoders[name](tokens[name]["input_ids"]).text_embeds.to(encoders[name].dtype) for name in _CLIPS
        ]
        t5, llama = encoders[_T5], encoders[_LLAMA]
        states = t5(tokens[_T5]["input_ids"], attention_mask=tokens[_T5]["attention_mask"])[0].to(t5.dtype)
        layers = (options or {}).get("llama_layers") or range(decoder_layers(llama))
        hidden = body(llama)(
            tokens[_LLAMA]["input_ids"],
            attention_mask=tokens[_LLAMA]["attention_mask"],
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states[1:]
        return Conditioning(
            {
                "prompt_embeds": states,
                "llama_embeds": torch.cat([hidden[layer] for layer in layers], dim=-1),
                "pooled_prompt_embeds": torch.cat(pooled, dim=-1),
            }
        )

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        pooled, first = conditioning.tensors["pooled_prompt_embeds"], encoders[_CLIPS[0]]
        width = int(first.config.projection_dim)
        return {
            _CLIPS[0]: pooled[:, :width],
            _CLIPS[1]: pooled[:, width:],
            _T5: conditioning.tensors["prompt_embeds"],
            _LLAMA: conditioning.tensors["llama_embeds"],
        }

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        return Conditioning(
            {
                "prompt_embeds": pieces[_T5],
                "llama_embeds": pieces[_LLAMA],
                "pooled_prompt_embeds": torch.cat([pieces[name] for name in _CLIPS], dim=-1),
            }
        )


FAMILY = HiDream()
