"""What several families do in the same way: padding, learned tokens, layers of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError

_LONGEST = 1 << 16
"""A tokenizer without a maximum of its own says 1e30."""


def pad_to_max(
    tokenizer: Any, prompts: Sequence[str], length: int | None = None, side: str | None = None
) -> dict[str, Tensor]:
    """Token ids and mask [b, length], padded and cut as every diffusers pipeline does it.

    Args:
        tokenizer: the encoder's.
        prompts: b strings.
        length: positions; None = the tokenizer's own maximum.
        side: where pads go, "left" or "right"; None = where the tokenizer has them.

    Raises:
        ModelError: neither ``length`` nor a maximum of the tokenizer's own.
    """
    positions = length or tokenizer.model_max_length
    if positions > _LONGEST:
        raise ModelError(
            "the tokenizer has no model_max_length, which is what its pipeline pads prompts to; write the "
            "encoder's number of positions (77 for CLIP) into its tokenizer_config.json"
        )
    if _has_plain_backend(tokenizer):
        return _padded(tokenizer, list(prompts), positions, side)
    out = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=positions,
        truncation=True,
        return_tensors="pt",
        **({} if side is None else {"padding_side": side}),
    )
    ids: Tensor = out.input_ids
    mask: Tensor | None = out.get("attention_mask")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids) if mask is None else mask}


def _has_plain_backend(tokenizer: Any) -> bool:
    """Whether a tokenizer is a fast one of transformers' own making, which adds nothing to what its Rust part
    does: then that can be asked directly. transformers makes lists of everything that an encoding has, which
    takes twice the time of tokenizing."""
    ways = ("__call__", "_encode_plus", "_batch_encode_plus")
    owners = [next((c for c in type(tokenizer).__mro__ if way in vars(c)), None) for way in ways]
    general = all(c is None or c.__module__.startswith("transformers.tokenization_") for c in owners)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return general and hasattr(backend, "encode_batch_fast") and tokenizer.pad_token is not None


def _padded(tokenizer: Any, prompts: list[str], length: int, side: str | None) -> dict[str, Tensor]:
    """`pad_to_max` by the Rust part of a fast tokenizer."""
    backend = tokenizer.backend_tokenizer
    # As transformers sets them before each call, so nothing is to be put back.
    backend.no_padding()
    backend.enable_truncation(length, stride=0, strategy="longest_first", direction=tokenizer.truncation_side)
    backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
    rows = [encoding.ids for encoding in backend.encode_batch_fast(prompts)]
    ids = np.full((len(rows), length), tokenizer.pad_token_id, np.int64)
    mask = np.zeros_like(ids)
    left = (side or tokenizer.padding_side) == "left"
    for i, row in enumerate(rows):
        place = slice(length - len(row), None) if left else slice(len(row))
        ids[i, place], mask[i, place] = row, 1
    if "attention_mask" not in tokenizer.model_input_names:
        mask[:] = 1
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def expand_learned_tokens(prompts: Sequence[str], tokenizer: Any) -> list[str]:
    """Spell out multi-vector learned embeddings, as pipelines do: ``<x>`` stands for ``<x> <x>_1 <x>_2``
    where those tokens exist."""
    added = set(getattr(tokenizer, "added_tokens_encoder", {}))
    if not any(f"{token}_1" in added for token in added):
        return list(prompts)
    out = []
    for prompt in prompts:
        for token in set(tokenizer.tokenize(prompt)) & added:
            number, spelled = 1, token
            while f"{token}_{number}" in added:
                spelled += f" {token}_{number}"
                number += 1
            prompt = prompt.replace(token, spelled)
        out.append(prompt)
    return out


def clip_body(encoder: Any) -> Any:
    """The module that owns ``final_layer_norm``: transformers >= 5.6 took the ``text_model`` level out of
    CLIPTextModel."""
    return getattr(encoder, "text_model", encoder)


def checked_skip(clip_skip: int | None, layers: int, spare: int) -> int | None:
    """``clip_skip`` if the encoder has that many layers to skip, else a `ModelError`. ``spare``: layers that
    are skipped anyway."""
    if clip_skip is not None and not 0 <= clip_skip <= layers - spare:
        raise ModelError(f"clip_skip {clip_skip} is out of range: this encoder allows 0 to {layers - spare}")
    return clip_skip


def layer_count(encoder: Any) -> int:
    """Number of transformer layers, from the encoder's configuration."""
    config = encoder.config
    return int(getattr(config, "num_hidden_layers", 0) or getattr(config, "num_layers", 0))


def hidden_state(output: Any, index: int) -> Tensor:
    """``output.hidden_states[index]``, or a `ModelError` for an exported encoder that does not give that
    layer."""
    states = getattr(output, "hidden_states", None)
    if states is None:
        raise ModelError(
            "this encoder gives no hidden states, so the layer that the denoiser reads cannot be taken "
            "from it"
        )
    try:
        state: Tensor = states[index]
    except IndexError:
        raise ModelError(
            f"this encoder gives {len(states)} hidden states; layer {index} is not among them"
        ) from None
    return state


def as_chat(tokenizer: Any, prompts: Sequence[str], **template: Any) -> list[str]:
    """Each prompt as a user's message in the tokenizer's chat template, ready for the answer.

    Raises:
        ModelError: the tokenizer has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError("this model's tokenizer has no chat template, and its pipeline cannot do without")
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, **template
        )
        for prompt in prompts
    ]
