"""Names of encoder weights in single-file (LDM) checkpoints: one map, read in both directions.

Some encoders keep transformers' names behind a prefix. Others keep OpenCLIP's: other names, query, key and
value joined in one tensor, and the projection transposed. Which of the two it is shows in the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..layout import nested_key

IGNORED = ("position_ids", "logit_scale")
"""In such files, but no part of what an encoder computes."""

_BLOCKS = "transformer.resblocks."
# OpenCLIP's names for the parts of one block, and transformers'.
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_WHOLE = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}


@dataclass(frozen=True)
class SingleFile:
    """How a family's single-file checkpoints are laid out.

    Attributes:
        prefixes: of each encoder's tensors, by encoder name.
        companion: hub id of the published model whose tokenizers and configurations fit.
        pipeline: diffusers class that loads the whole file.
        arguments: what that class needs to be told besides.
    """

    prefixes: Mapping[str, str]
    companion: str
    pipeline: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, keys: Iterable[str]) -> bool:
        """Whether tensors of every encoder are among ``keys``."""
        keys = list(keys)
        return all(any(key.startswith(prefix) for key in keys) for prefix in self.prefixes.values())


def under(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """``{name without the prefix: key}`` of one encoder's tensors."""
    return {
        key.removeprefix(prefix): key
        for key in keys
        if key.startswith(prefix) and not key.endswith("logit_scale")
    }


def prefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP state dict under the names that files use: always below ``text_model.``."""
    return {nested_key(key): value for key, value in state.items() if not key.endswith(IGNORED)}


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's names to transformers', below ``text_model.``; joined attention weights are split in
    three."""
    if not any(key.startswith(_BLOCKS) for key in state):
        return dict(state)
    out: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key in _WHOLE:
            out[_WHOLE[key]] = tensor
        elif key == "text_projection":
            out["text_projection.weight"] = tensor.T.contiguous()
        elif key.startswith(_BLOCKS):
            layer, rest = _layer(key)
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                    out[f"{layer}self_attn.{part}_proj.{kind}"] = piece.contiguous()
            else:
                stem, _, kind = rest.rpartition(".")
                out[f"{layer}{_PARTS[stem]}.{kind}"] = tensor
    return out


def stored_types(header: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, str]:
    """``{transformers' name: stored type}`` of one encoder, from the checkpoint's header; a joined tensor's
    type counts for each of its parts."""
    found = under(header, prefix)
    # Only the names matter: the smallest tensors that can be split and transposed stand in for the real ones.
    shapes: dict[str, Any] = {
        key: 3 if "in_proj" in key else (1, 1) if key == "text_projection" else 1 for key in found
    }
    named = to_transformers({key: torch.empty(shape) for key, shape in shapes.items()})
    usual = str(header[next(iter(found.values()))]["dtype"]) if found else "F32"
    return {key: str(header[found[key]]["dtype"]) if key in found else usual for key in named}


def replacements(
    keys: Iterable[str], prefix: str, encoder: str, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``{key in the checkpoint: new tensor}`` for one encoder, in the encoder's own type.

    Args:
        keys: all keys of the checkpoint.
        prefix: of this encoder's.
        encoder: its name, for messages.
        weights: its state dict.

    Raises:
        ModelError: the checkpoint lacks a weight of the encoder, or has one that the encoder lacks.
    """
    own = [key for key in keys if key.startswith(prefix) and not key.endswith(IGNORED)]
    if not own:
        raise ModelError(f"the checkpoint has no tensors under {prefix}, so there is no {encoder} to replace")
    state, used, out = prefixed(weights), set[str](), {}
    joined = any(key.startswith(f"{prefix}{_BLOCKS}") for key in own)
    for key in own:
        name = key.removeprefix(prefix)
        try:
            if joined:
                out[key] = _openclip_tensor(name, state, used)
            else:
                out[key] = state[name]
                used.add(name)
        except KeyError:
            raise ModelError(
                f"the checkpoint's {key} has no counterpart in {encoder}: another architecture"
            ) from None
    if lost := sorted(set(state) - used):
        raise ModelError(f"the checkpoint has no place for {lost[0]} of {encoder}: another architecture")
    return out


def _layer(key: str) -> tuple[str, str]:
    """OpenCLIP's ``transformer.resblocks.3.ln_1.weight`` to transformers' name of block 3, and the rest."""
    number, _, rest = key.removeprefix(_BLOCKS).partition(".")
    return f"text_model.encoder.layers.{number}.", rest


def _openclip_tensor(name: str, state: Mapping[str, Tensor], used: set[str]) -> Tensor:
    """The tensor that OpenCLIP calls ``name``, made from transformers' names; what was read is added to
    ``used``.

    Raises:
        KeyError: no such weight.
    """

    def take(key: str) -> Tensor:
        used.add(key)
        return state[key]

    if name in _WHOLE:
        return take(_WHOLE[name])
    if name == "text_projection":
        return take("text_projection.weight").T
    if not name.startswith(_BLOCKS):
        raise KeyError(name)
    layer, rest = _layer(name)
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        return torch.cat([take(f"{layer}self_attn.{part}_proj.{kind}") for part in "qkv"])
    stem, _, kind = rest.rpartition(".")
    return take(f"{layer}{_PARTS[stem]}.{kind}")
