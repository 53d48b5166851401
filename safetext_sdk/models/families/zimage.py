"""Z-Image: Qwen3's hidden_states[-2] at the positions of prompt and template, without padding.

The prompt is a user's message in Qwen3's chat template with thinking switched on (512 positions, the
template's included).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..layout import QWEN3
from .base import EncoderSpec
from .decoder import Decoder
from .tools import as_chat


class ZImage(Decoder):
    name = "zimage"
    title = "Z-Image"
    encoders = (
        EncoderSpec("text_encoder", QWEN3, frozenset({"penultimate"}), tokenizer="Qwen2TokenizerFast"),
    )
    pipelines = ("ZImage",)
    length = 512
    layers = (-2,)

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        return as_chat(tokenizer, prompts, enable_thinking=True)


FAMILY = ZImage()
