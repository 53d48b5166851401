"""What families with T5 alone have in common: its last_hidden_state, computed with the attention mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ...policy.languages import LATIN
from ..layout import T5
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Tokens
from .tools import pad_to_max


class T5Alone(Family):
    """One T5 whose pad positions the denoiser masks out. A family says how long its prompts are, and what it
    does with text before and with states after."""

    encoders = (
        EncoderSpec(
            "text_encoder",
            T5,
            frozenset({"last_hidden_state"}),
            causal=False,
            masked=True,
            tokenizer="T5TokenizerFast",
        ),
    )
    languages = LATIN
    """Chinese and Japanese characters are unknown to T5's tokenizer."""
    pads_are_read = False
    length: ClassVar[int]
    """The pipeline's default ``max_sequence_length``."""

    def cleaned(self, prompts: Sequence[str]) -> list[str]:
        """What the pipeline does with the text itself."""
        return list(prompts)

    def finished(self, states: Tensor, mask: Tensor) -> Tensor:
        """What the pipeline does with the encoder's output [b, L, d]; ``mask`` [b, L]."""
        return states

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        length = (lengths or {}).get("text_encoder", self.length)
        return {"text_encoder": pad_to_max(tokenizers["text_encoder"], self.cleaned(prompts), length)}

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        self.refuse(clip_skip)
        t5, parts = encoders["text_encoder"], tokens["text_encoder"]
        states = t5(parts["input_ids"], attention_mask=parts["attention_mask"])[0]
        return Conditioning({"prompt_embeds": self.finished(states, parts["attention_mask"]).to(t5.dtype)})
