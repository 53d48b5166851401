"""Lumina 2: Gemma 2's hidden_states[-2] (256 positions by default), its pad positions masked in the denoiser.

A system prompt stands before the prompt, and none before the negative prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..layout import GEMMA2
from .base import EncoderSpec
from .conditioning import Tokens
from .decoder import Decoder
from .tools import pad_to_max

SYSTEM_PROMPT = (
    "You are an assistant designed to generate superior images with the superior degree of image-text "
    "alignment based on textual prompts or user prompts."
)
"""The pipeline's own, which the denoiser was trained with."""


class Lumina2(Decoder):
    name = "lumina2"
    title = "Lumina 2"
    encoders = (
        EncoderSpec("text_encoder", GEMMA2, frozenset({"penultimate"}), tokenizer="GemmaTokenizerFast"),
    )
    pipelines = ("Lumina2", "LuminaText2Img2")
    length = 256
    layers = (-2,)

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        return [f"{SYSTEM_PROMPT} <Prompt Start> {prompt}" for prompt in prompts]

    def tokenize_negative(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        length = (lengths or {}).get("text_encoder", self.length)
        return {"text_encoder": pad_to_max(tokenizers["text_encoder"], prompts, length)}


FAMILY = Lumina2()
