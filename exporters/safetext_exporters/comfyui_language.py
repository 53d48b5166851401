"""ComfyUI's files of T5 and Qwen3 encoders: names, sizes, and what is left out.

The names inside are those of transformers' own files: ``encoder.block.0...`` and ``shared.weight`` for T5,
``model.layers.0...`` for Qwen3; converters to GGUF read the same ones. ComfyUI tells encoders apart by a
layer's name and width (``detect_te_model`` in its comfy/sd.py, read in 2026; T5: ``wi_1`` of block 23, Qwen3:
a ``q_norm`` and the width of layer 0's norm) and builds them with fixed sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from safetext_sdk.errors import ModelError

from .t5_graph import is_t5


@dataclass(frozen=True)
class StockFile:
    """An encoder that ComfyUI builds: the name of its file and its sizes."""

    name: str
    layers: int
    width: int
    inner: int


T5_FILES = (StockFile("t5xxl", 24, 4096, 10240), StockFile("t5xl", 24, 2048, 5120))
QWEN3_FILES = (StockFile("qwen_3_4b", 36, 2560, 9728), StockFile("qwen_3_8b", 36, 4096, 12288))


def is_qwen3(encoder: Any) -> bool:
    """Whether this is a Qwen3 language model, with a head or without."""
    return isinstance(encoder, nn.Module) and getattr(encoder.config, "model_type", "") == "qwen3"


def is_language(encoder: Any) -> bool:
    """Whether this module knows ComfyUI's file of this encoder."""
    return is_t5(encoder) or is_qwen3(encoder)


def language_state(encoder: Any) -> dict[str, Tensor]:
    """The weights under the names that ComfyUI looks for; heads and second names of tied tensors are left
    out."""
    own: Mapping[str, Tensor] = encoder.state_dict()
    if is_t5(encoder):
        return {key: value for key, value in own.items() if key != "encoder.embed_tokens.weight"}
    return {
        key if key.startswith("model.") else f"model.{key}": value
        for key, value in own.items()
        if not key.startswith("lm_head.")
    }


def language_file(encoder: Any, any_size: bool) -> str:
    """The name of the file, without suffix.

    Raises:
        ModelError: a size that ComfyUI does not build, unless ``any_size``.
    """
    config = encoder.config
    t5 = is_t5(encoder)
    if t5:
        found = (int(config.num_layers), int(config.d_model), int(config.d_ff))
    else:
        found = (
            int(config.num_hidden_layers),
            int(config.hidden_size),
            int(config.intermediate_size),
        )
    known = T5_FILES if t5 else QWEN3_FILES
    for stock in known:
        if (stock.layers, stock.width, stock.inner) == found:
            return stock.name
    if any_size:
        return "t5" if t5 else "qwen_3"
    sizes = ", ".join(f"{s.name}: {s.layers} layers of {s.width}" for s in known)
    raise ModelError(
        f"ComfyUI builds {sizes}; this {type(encoder).__name__} has {found[0]} layers of {found[1]}"
    )
