"""FLUX.1: the CLIP encoder's pooled output only (its sequence is not read), and T5's last_hidden_state (512
positions by default).

FLUX.1 has no clip_skip. By default it runs without classifier-free guidance, so the negative prompt is not
read at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..layout import CLIP, T5
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Pieces, Tokens
from .model_folder import ModelFolder
from .tools import expand_learned_tokens, pad_to_max

T5_LENGTH = 512
"""The pipeline's default ``max_sequence_length``."""


class Flux(Family):
    name = "flux"
    title = "FLUX.1"
    encoders = (
        EncoderSpec("text_encoder", CLIP, frozenset({"pooler_output"})),
        EncoderSpec(
            "text_encoder_2",
            T5,
            frozenset({"last_hidden_state"}),
            causal=False,
            tokenizer="T5TokenizerFast",
        ),
    )
    pipelines = ("Flux",)
    lora_by_pipeline = frozenset({"text_encoder"})

    def claim(self, folder: ModelFolder) -> int:
        # FLUX.2 reads other encoders altogether.
        return 0 if folder.class_name.startswith("Flux2") else super().claim(folder)

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        lengths = {"text_encoder_2": T5_LENGTH, **(lengths or {})}
        return {
            name: pad_to_max(
                tokenizers[name], expand_learned_tokens(prompts, tokenizers[name]), lengths.get(name)
            )
            for name in ("text_encoder", "text_encoder_2")
        }

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        self.refuse(clip_skip)
        clip, t5 = encoders["text_encoder"], encoders["text_encoder_2"]
        pooled = clip(tokens["text_encoder"]["input_ids"]).pooler_output.to(clip.dtype)
        sequence = t5(tokens["text_encoder_2"]["input_ids"])[0].to(t5.dtype)
        return Conditioning({"prompt_embeds": sequence, "pooled_prompt_embeds": pooled})

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        return {
            "text_encoder": conditioning.tensors["pooled_prompt_embeds"],
            "text_encoder_2": conditioning.tensors["prompt_embeds"],
        }

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        return Conditioning(
            {"prompt_embeds": pieces["text_encoder_2"], "pooled_prompt_embeds": pieces["text_encoder"]}
        )


FAMILY = Flux()
