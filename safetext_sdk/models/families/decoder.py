"""What families with a language model (Qwen, Gemma, Mistral, Llama) as their text encoder have in common.

Such an encoder reads the prompt inside a chat template. Its language-model head is never asked: only hidden
states are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...policy.languages import LATIN, UNSPACED
from .base import Family
from .conditioning import Conditioning, Tokens
from .tools import pad_to_max

ENCODER = "text_encoder"


def body(encoder: Any) -> Any:
    """The module under a language-model head, and under LoRA: its hidden states are those of the whole."""
    whole = encoder.get_base_model() if hasattr(encoder, "get_base_model") else encoder
    return whole.model if hasattr(whole, "lm_head") else whole


def decoder_layers(encoder: Any) -> int:
    """Layers of the language model."""
    config = encoder.config
    return int(getattr(config, "text_config", config).num_hidden_layers)


def hidden_layers(encoder: Any, ids: Tensor, mask: Tensor | None, layers: Sequence[int]) -> Tensor:
    """Some of the hidden states [b, L, d], several side by side: [b, L, n * d].

    Args:
        encoder: with or without head and LoRA.
        ids, mask: [b, L].
        layers: indices into ``hidden_states``.
    """
    states = body(encoder)(
        input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
    ).hidden_states
    if len(layers) == 1:
        only: Tensor = states[layers[0]]
        return only
    stacked = torch.stack([states[layer] for layer in layers], dim=1)
    b, n, length, width = stacked.shape
    return stacked.permute(0, 2, 1, 3).reshape(b, length, n * width)


def without_pads(states: Tensor, mask: Tensor) -> Tensor:
    """Every row's own positions first and in their order, zeros after them."""
    if not bool(mask[:, 0].all()):  # pads come first
        order = torch.argsort(1 - mask.long(), dim=1, stable=True)
        states = states.gather(1, order.unsqueeze(-1).expand_as(states))
        mask = first_positions(mask)
    return states * mask.unsqueeze(-1).to(states.dtype)


def first_positions(mask: Tensor) -> Tensor:
    """As many ones a row as ``mask`` has, all at the beginning."""
    places = torch.arange(mask.shape[1], device=mask.device)
    return (places < mask.sum(dim=1, keepdim=True)).to(mask.dtype)


class Decoder(Family):
    """One language model whose pad positions the denoiser does not read. A family says what it writes around
    the prompt, which layers are read and how many positions of the template are left out."""

    languages = (*LATIN, *UNSPACED)
    pads_are_read = False
    length: ClassVar[int]
    """Positions, those of the template included."""
    layers: ClassVar[tuple[int, ...]]
    """Indices into ``hidden_states``; several are put side by side in each position."""
    dropped: ClassVar[int] = 0
    """See `left_out`, where it is the same for every tokenizer."""
    to_longest: ClassVar[bool] = False
    """Whether the pipeline pads to the longest prompt of a call only: with more pads the last bits differ."""

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        """The prompts inside their template."""
        return list(prompts)

    def left_out(self, tokens: Tokens) -> int:
        """Positions of the template, at the beginning, that are not read."""
        return self.dropped

    def masks(self, tokens: Tokens) -> dict[str, Tensor]:
        return {ENCODER: first_positions(tokens[ENCODER]["attention_mask"])[:, self.left_out(tokens) :]}

    def ends(self, mask: Tensor) -> Tensor:
        return super().ends(mask if self.pads_are_read else first_positions(mask))

    def positions(self, encoder: str, length: int) -> int:
        return length - self.dropped

    def layers_read(self, encoder: str, module: Any) -> int | None:
        count = decoder_layers(module)
        return max(layer if layer >= 0 else count + 1 + layer for layer in self.layers)

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        tokenizer = tokenizers[ENCODER]
        length = (lengths or {}).get(ENCODER, self.length)
        return {ENCODER: pad_to_max(tokenizer, self.written(tokenizer, prompts), length)}

    def states(self, encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """[b, L, n * d]: the layers that are read."""
        return hidden_layers(encoder, ids, mask, self.layers)

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
        ids, mask = parts["input_ids"], parts["attention_mask"]
        length = ids.shape[1]
        if self.to_longest:
            used = mask.any(dim=0).nonzero().flatten()
            ids, mask = (t[:, int(used[0]) : int(used[-1]) + 1] for t in (ids, mask))
        states = self.states(encoder, ids, mask).to(encoder.dtype)
        if not self.pads_are_read:
            states = without_pads(states, mask)
        states = states[:, self.left_out(tokens) :]
        return Conditioning({"prompt_embeds": pad(states, (0, 0, 0, length - ids.shape[1]))})
