"""FLUX.2 klein: Qwen3's hidden states 9, 18 and 27 side by side, at all 512 positions: there is no mask, and
pad positions are read too.

The prompt is a user's message in Qwen3's chat template with thinking switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..layout import QWEN3_LM
from .base import EncoderSpec
from .decoder import Decoder
from .tools import as_chat


class Flux2Klein(Decoder):
    name = "flux2"
    title = "FLUX.2 klein"
    encoders = (
        EncoderSpec("text_encoder", QWEN3_LM, frozenset({"middle_layers"}), tokenizer="Qwen2TokenizerFast"),
    )
    pipelines = ("Flux2Klein",)
    pads_are_read = True
    length = 512
    layers = (9, 18, 27)

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        return as_chat(tokenizer, prompts, enable_thinking=False)


FAMILY = Flux2Klein()
