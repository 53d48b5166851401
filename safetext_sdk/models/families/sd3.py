"""Stable Diffusion 3.x: two CLIPs and T5 on one sequence, plus both pooled vectors.

* Both CLIPs give hidden_states[-2] (clip_skip k: -(k+2)), joined on the feature axis and zero-padded to T5's
  width; T5's last_hidden_state follows on the sequence axis. A pipeline without T5 has zeros in its place.
* Pooled: both projected ``text_embeds`` joined. The first CLIP's tokenizer length is used for both CLIPs; T5
  has its own (256 by default).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..layout import CLIP_PROJECTED, T5
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Pieces, Tokens
from .model_folder import ModelFolder
from .tools import checked_skip, hidden_state, layer_count, pad_to_max

_CLIPS = ("text_encoder", "text_encoder_2")
_T5 = "text_encoder_3"
T5_LENGTH = 256
"""The pipeline's default ``max_sequence_length``."""


class SD3(Family):
    name = "sd3"
    title = "Stable Diffusion 3"
    encoders = (
        *(EncoderSpec(name, CLIP_PROJECTED, frozenset({"penultimate", "text_embeds"})) for name in _CLIPS),
        EncoderSpec(_T5, T5, frozenset({"last_hidden_state"}), causal=False, tokenizer="T5TokenizerFast"),
    )
    pipelines = ("StableDiffusion3",)
    lora_by_pipeline = frozenset(_CLIPS)

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        config = folder.config("transformer")
        return {"joint_attention_dim": int(config.get("joint_attention_dim", 4096))} if config else {}

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        lengths = lengths or {}
        shared = lengths.get("text_encoder") or tokenizers["text_encoder"].model_max_length
        tokens = {name: pad_to_max(tokenizers[name], prompts, shared) for name in _CLIPS}
        if _T5 in tokenizers:
            tokens[_T5] = pad_to_max(tokenizers[_T5], prompts, lengths.get(_T5, T5_LENGTH))
        return tokens

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        options = options or {}
        dtype = encoders["text_encoder"].dtype
        states, pooled = [], []
        for name in _CLIPS:
            encoder = encoders[name]
            skip = checked_skip(clip_skip, layer_count(encoder), 1)
            output = encoder(tokens[name]["input_ids"], output_hidden_states=True)
            states.append(hidden_state(output, -2 if skip is None else -(skip + 2)).to(dtype))
            pooled.append(output.text_embeds)
        clips = torch.cat(states, dim=-1)
        t5 = None
        if _T5 in encoders:
            t5 = encoders[_T5](tokens[_T5]["input_ids"])[0].to(encoders[_T5].dtype)
        return self._one_sequence(clips, t5, torch.cat(pooled, dim=-1), options)

    @staticmethod
    def _one_sequence(
        clips: Tensor, t5: Tensor | None, pooled: Tensor, options: Mapping[str, Any]
    ) -> Conditioning:
        """The CLIPs' states [b, L, d], padded to T5's width, and T5's after them (absent: zeros)."""
        if t5 is None:
            width = int(options.get("joint_attention_dim", clips.shape[-1]))
            t5 = clips.new_zeros(clips.shape[0], int(options.get("t5_length", T5_LENGTH)), width)
        clips = pad(clips, (0, t5.shape[-1] - clips.shape[-1]))
        return Conditioning({"prompt_embeds": torch.cat([clips, t5], dim=-2), "pooled_prompt_embeds": pooled})

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        whole, pooled = conditioning.tensors["prompt_embeds"], conditioning.tensors["pooled_prompt_embeds"]
        length = tokens["text_encoder"]["input_ids"].shape[1]
        out: Pieces = {}
        start, pooled_start = 0, 0
        for name in _CLIPS:
            width, projected = (
                int(encoders[name].config.hidden_size),
                int(encoders[name].config.projection_dim),
            )
            out[name] = whole[:, :length, start : start + width]
            out[f"{name}_pooled"] = pooled[:, pooled_start : pooled_start + projected]
            start, pooled_start = start + width, pooled_start + projected
        if _T5 in encoders:
            out[_T5] = whole[:, length:]
        return out

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        clips = torch.cat([pieces[name] for name in _CLIPS], dim=-1)
        pooled = torch.cat([pieces[f"{name}_pooled"] for name in _CLIPS], dim=-1)
        return self._one_sequence(clips, pieces.get(_T5), pooled, options)


FAMILY = SD3()
