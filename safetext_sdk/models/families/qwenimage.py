"""Qwen-Image: a Qwen VL model's last layer at the prompt's positions; the template's first ones are left out.

The trap is the final norm. transformers 5 gives ``hidden_states[-1]`` after it, transformers 4 before it. The
pipeline of Qwen-Image reads what it is given; that of 2.1 takes the norm away by a hook, because its denoiser
was trained without. Each is done here as its pipeline does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..layout import QWEN3_VL, QWEN25_VL
from .base import EncoderSpec
from .conditioning import Tokens
from .decoder import ENCODER, Decoder, body
from .model_folder import EncoderPlace, ModelFolder
from .tools import pad_to_max

TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, "
    "spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
TEMPLATE_21 = (
    "<|im_start|>system\nComprehend and analyze the provided prompt.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
"""The pipelines' own, which the denoisers were trained with."""


class QwenImage(Decoder):
    name = "qwenimage"
    title = "Qwen-Image"
    encoders = (
        EncoderSpec(ENCODER, QWEN25_VL, frozenset({"last_hidden_state"}), tokenizer="Qwen2Tokenizer"),
    )
    pipelines = ("QwenImage",)
    length = 1024 + 34
    layers = (-1,)
    dropped = 34
    to_longest = True

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        return [TEMPLATE.format(prompt) for prompt in prompts]


class QwenImage21(Decoder):
    """Qwen-Image 2.1: padded on the left, and without the final norm.

    What is left out is the system message, whose length its tokenizer decides: all before the second token
    that begins a message. The pipeline cuts no prompt; here those beyond 1,024 positions are.
    """

    name = "qwenimage21"
    title = "Qwen-Image 2.1"
    encoders = (
        EncoderSpec(
            ENCODER, QWEN3_VL, frozenset({"last_hidden_state"}), causal=False, whole=True, tokenizer=""
        ),
    )
    pipelines = ("QwenImage21",)
    length = 1024
    layers = (-1,)
    to_longest = True

    def places(self, folder: ModelFolder) -> list[EncoderPlace]:
        spec = self.encoders[0]
        kind = self.architecture(ENCODER, folder.class_of(ENCODER), folder.root / ENCODER)
        return [EncoderPlace(spec.name, folder.root / ENCODER, kind, folder.root / "processor")]

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        # An empty message would leave the encoder nothing to read, so the pipeline makes it a space.
        return [TEMPLATE_21.format(prompt or " ") for prompt in prompts]

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        tokenizer = tokenizers[ENCODER]
        length = (lengths or {}).get(ENCODER, self.length)
        return {ENCODER: pad_to_max(tokenizer, self.written(tokenizer, prompts), length, "left")}

    def left_out(self, tokens: Tokens) -> int:
        ids, mask = tokens[ENCODER]["input_ids"][0], tokens[ENCODER]["attention_mask"][0]
        own = ids[mask.bool()]
        begins = (own == own[0]).nonzero().flatten()
        return int(begins[1]) if len(begins) > 1 else 0

    def states(self, encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        inner = body(encoder)
        norm = getattr(inner, "language_model", inner).norm
        handle = norm.register_forward_hook(lambda module, inputs, output: inputs[0])
        try:
            return super().states(encoder, ids, mask)
        finally:
            handle.remove()


FAMILY = QwenImage()
FAMILY_21 = QwenImage21()
