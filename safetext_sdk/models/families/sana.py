"""Sana: Gemma 2's last_hidden_state at the begin token and the last 299 positions; pads are masked.

The pipeline writes a long instruction to rewrite the prompt before it, so that the prompt lies in the last
positions; the negative prompt stands alone. The instruction is the installed pipeline's own default.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from ..layout import GEMMA2
from .base import EncoderSpec
from .conditioning import Conditioning, Tokens
from .decoder import ENCODER, Decoder, body
from .tools import pad_to_max


class Sana(Decoder):
    name = "sana"
    title = "Sana"
    # Not a prefix of what is tokenized but both its ends are read, so a step cannot cut it.
    encoders = (
        EncoderSpec(
            ENCODER,
            GEMMA2,
            frozenset({"last_hidden_state"}),
            causal=False,
            whole=True,
            tokenizer="GemmaTokenizerFast",
        ),
    )
    pipelines = ("Sana",)
    length = 300
    layers = (-1,)

    @cached_property
    def instruction(self) -> str:
        """What stands before a prompt."""
        from diffusers import SanaPipeline

        arguments = inspect.signature(SanaPipeline.__call__).parameters
        return "\n".join(arguments["complex_human_instruction"].default)

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        tokenizer = tokenizers[ENCODER]
        whole = len(tokenizer.encode(self.instruction)) + self.length - 2
        texts = [self.instruction + prompt.lower().strip() for prompt in prompts]
        return {ENCODER: pad_to_max(tokenizer, texts, whole, "right")}

    def tokenize_negative(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        texts = [prompt.lower().strip() for prompt in prompts]
        return {ENCODER: pad_to_max(tokenizers[ENCODER], texts, self.length, "right")}

    def masks(self, tokens: Tokens) -> dict[str, Tensor]:
        return {ENCODER: self._read(tokens[ENCODER]["attention_mask"])}

    def positions(self, encoder: str, length: int) -> int:
        return self.length

    def layers_read(self, encoder: str, module: Any) -> int | None:
        return None

    def _read(self, values: Tensor) -> Tensor:
        return values[:, [0, *range(1 - self.length, 0)]]

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        self.refuse(clip_skip)
        encoder, parts = encoders[ENCODER], tokens[ENCODER]
        states = body(encoder)(parts["input_ids"], attention_mask=parts["attention_mask"])[0]
        read, mask = self._read(states.to(encoder.dtype)), self._read(parts["attention_mask"])
        return Conditioning({"prompt_embeds": read * mask.unsqueeze(-1).to(read.dtype)})


FAMILY = Sana()
