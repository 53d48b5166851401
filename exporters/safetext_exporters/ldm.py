"""Names of encoder weights in single-file checkpoints (SD 1.x and SDXL), and the weights under those names.

SD 1.x and SDXL's first encoder keep transformers' names behind a prefix. SDXL's second one keeps OpenCLIP's:
other names, query, key and value joined in one tensor, and the projection transposed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safetext_sdk.errors import ModelError

PREFIXES = {
    "sd1": {"text_encoder": "cond_stage_model.transformer."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_SINGLE = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
# In the file but no part of what the encoder computes.
IGNORED = ("position_ids", "logit_scale")


def prefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP state dict under the names that files use: always with ``text_model.``."""
    head = ("text_model.", "text_projection.")
    return {
        key if key.startswith(head) else f"text_model.{key}": value
        for key, value in state.items()
        if not key.endswith(IGNORED)
    }


def openclip_tensor(name: str, state: Mapping[str, Tensor], used: set[str]) -> Tensor:
    """The tensor that OpenCLIP calls ``name``, made from a state dict with transformers' names; what was read
    is added to ``used``.

    Raises:
        KeyError: no such weight.
    """

    def take(key: str) -> Tensor:
        used.add(key)
        return state[key]

    if name in _SINGLE:
        return take(_SINGLE[name])
    if name == "text_projection":
        return take("text_projection.weight").T
    start = "transformer.resblocks."
    if not name.startswith(start):
        raise KeyError(name)
    number, _, rest = name.removeprefix(start).partition(".")
    layer = f"text_model.encoder.layers.{number}."
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        return torch.cat([take(f"{layer}self_attn.{part}_proj.{kind}") for part in "qkv"])
    stem, _, kind = rest.rpartition(".")
    return take(f"{layer}{_PARTS[stem]}.{kind}")


def replacements(
    keys: list[str], family: str, encoder: str, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``{key in the checkpoint: new tensor}`` for one encoder, in the encoder's own type.

    Raises:
        ModelError: the checkpoint lacks a weight of the encoder, or has one that the encoder lacks.
    """
    prefix = PREFIXES[family][encoder]
    own = [key for key in keys if key.startswith(prefix) and not key.endswith(IGNORED)]
    if not own:
        raise ModelError(f"the checkpoint has no tensors under {prefix}, so there is no {encoder} to replace")
    state, used, out = prefixed(state), set[str](), {}
    joined = any(key.startswith(f"{prefix}transformer.resblocks.") for key in own)
    for key in own:
        name = key.removeprefix(prefix)
        try:
            if joined:
                out[key] = openclip_tensor(name, state, used)
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
