"""FLUX.2 dev: Mistral 3's hidden states 10, 20 and 30 side by side, at all 512 positions: its denoiser has no
mask and reads pad positions too.

The prompt is a user's message after the pipeline's system message, in the tokenizer's chat template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..layout import MISTRAL3
from .base import EncoderSpec
from .conditioning import Tokens
from .decoder import ENCODER, Decoder


class Flux2Dev(Decoder):
    name = "flux2-dev"
    title = "FLUX.2 dev"
    # Its tokenizer pads on the left, so no step could read a prefix.
    encoders = (
        EncoderSpec(ENCODER, MISTRAL3, frozenset({"middle_layers"}), causal=False, whole=True, tokenizer=""),
    )
    pipelines = ("Flux2Pipeline",)
    pads_are_read = True
    length = 512
    layers = (10, 20, 30)

    @cached_property
    def system_message(self) -> str:
        """What stands before a prompt: the installed pipeline's own."""
        from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

        return str(SYSTEM_MESSAGE)

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        def part(text: str) -> list[dict[str, str]]:
            return [{"type": "text", "text": text}]

        messages = [
            [
                {"role": "system", "content": part(self.system_message)},
                # The processor would take it for a picture's place.
                {"role": "user", "content": part(prompt.replace("[IMG]", ""))},
            ]
            for prompt in prompts
        ]
        out = tokenizers[ENCODER].apply_chat_template(
            messages,
            add_generation_prompt=False,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=(lengths or {}).get(ENCODER, self.length),
        )
        return {ENCODER: {"input_ids": out["input_ids"], "attention_mask": out["attention_mask"]}}


FAMILY = Flux2Dev()
