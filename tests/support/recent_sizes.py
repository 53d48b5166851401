"""Language encoders of published sizes, without memory for their weights."""

from __future__ import annotations

import torch


def of_size(kind: str, layers: int, width: int, inner: int) -> torch.nn.Module:
    """An encoder of a published size whose weights take no memory."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, T5Config, T5EncoderModel

    with torch.device("meta"):
        if kind == "t5":
            config = T5Config(num_layers=layers, d_model=width, d_ff=inner, feed_forward_proj="gated-gelu")
            return T5EncoderModel(config)
        return Qwen3ForCausalLM(
            Qwen3Config(num_hidden_layers=layers, hidden_size=width, intermediate_size=inner)
        )
