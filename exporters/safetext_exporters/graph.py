"""A CLIP text encoder as a plain graph: the module that is traced for ONNX, and the contracts its outputs
follow.

* It reads the weights of a transformers ``CLIPTextModel`` or ``CLIPTextModelWithProjection`` (with or without
  the inner ``text_model``: transformers 5.6 removed it) and computes the forward pass itself. Nothing of
  transformers' attention code is traced, so a graph does not change with the transformers version.
* Attention is eager; the causal mask and the positions are constants. The only dynamic axis is the batch. No
  Shape, Range, Where or If is left for a compiler to stumble over.
* Pooling takes the highest id (``eos_token_id == 2``, what the first CLIP releases do) or the first EOS, as
  transformers does. Both are written as "the largest score wins" with a tie-break by position, so the answer
  does not depend on how a runtime breaks ties of ArgMax.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from safetext_sdk.errors import ModelError, UsageError

LENGTH = 77
"""Positions of every CLIP text encoder; static in the graph."""

CONTRACTS = {
    "optimum": "last_hidden_state, pooler_output (text_embeds, last_hidden_state with a projection): read "
    "by optimum and diffusers",
    "optimum-hidden": "the same, then hidden_states.0 ... hidden_states.N: what SDXL and SD3 read",
    "trt-demo": "text_embeddings, then hidden_states (SDXL, SD3) or pooled_embeddings (FLUX): TensorRT's "
    "diffusion demo",
}
"""Name to what it means; the names are what ``--contract`` takes."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """What the graph takes and gives, by name and in order."""

    contract: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def clip_core(encoder: nn.Module) -> nn.Module:
    """The part with embeddings, layers and final norm; the encoder itself where transformers has flattened
    it.

    Raises:
        ModelError: not a CLIP text encoder.
    """
    core = getattr(encoder, "text_model", encoder)
    parts = ("embeddings", "encoder", "final_layer_norm")
    if (
        not isinstance(core, nn.Module)
        or not all(hasattr(core, p) for p in parts)
        or not hasattr(core.embeddings, "token_embedding")
    ):
        raise ModelError(
            f"{type(encoder).__name__} is not a CLIP text encoder; only CLIP encoders can be exported to "
            "this target"
        )
    return core


def signature(encoder: nn.Module, contract: str, demo: tuple[str, ...] = ()) -> Signature:
    """Inputs and outputs of ``encoder`` under ``contract``.

    Args:
        encoder: transformers CLIP text encoder.
        contract: a key of `CONTRACTS`.
        demo: what TensorRT's demo expects of this encoder beside ``text_embeddings`` (`Family.demo_outputs`);
            read by ``trt-demo`` only.

    Raises:
        UsageError: unknown contract.
    """
    if contract not in CONTRACTS:
        raise UsageError(f"unknown contract {contract!r}; known: {', '.join(CONTRACTS)}")
    config: Any = encoder.config
    projected = getattr(encoder, "text_projection", None) is not None
    inputs = (
        ("input_ids", "attention_mask") if getattr(config, "use_attention_mask", False) else ("input_ids",)
    )
    if contract == "trt-demo":
        # The demo renames output 0 of the torch model, which is the projected vector where there is a
        # projection, and feeds a mask there. It allocates buffers for exactly the outputs that it knows of,
        # so a spare output would break it.
        inputs = ("input_ids", "attention_mask") if projected else inputs
        outputs: tuple[str, ...] = ("text_embeddings", *demo)
    else:
        outputs = (
            ("text_embeds", "last_hidden_state") if projected else ("last_hidden_state", "pooler_output")
        )
        if contract == "optimum-hidden":
            outputs += tuple(f"hidden_states.{i}" for i in range(config.num_hidden_layers + 1))
    return Signature(contract, inputs, outputs)


class ClipGraph(nn.Module):
    """``input_ids`` [b, 77] (and ``attention_mask`` [b, 77] where the config asks for it) to the contract's
    outputs.

    Args:
        encoder: transformers CLIP text encoder; its weights are shared, not copied, so cast it before.
        contract: a key of `CONTRACTS`.
        demo: as `signature`.
    """

    causal: Tensor
    positions: Tensor
    order: Tensor

    def __init__(self, encoder: nn.Module, contract: str = "optimum", demo: tuple[str, ...] = ()) -> None:
        super().__init__()
        core: Any = clip_core(encoder)
        config: Any = encoder.config
        if config.max_position_embeddings != LENGTH:
            raise ModelError(
                f"the encoder has {config.max_position_embeddings} positions; this graph is static at "
                f"{LENGTH}"
            )
        self.signature = signature(encoder, contract, demo)
        self.heads, self.eos = int(config.num_attention_heads), int(config.eos_token_id)
        self.tokens, self.layers, self.final_layer_norm = (
            core.embeddings.token_embedding,
            core.encoder.layers,
            core.final_layer_norm,
        )
        self.text_projection = getattr(encoder, "text_projection", None)
        weight = core.embeddings.position_embedding.weight.detach()
        lowest = torch.finfo(weight.dtype).min
        self.register_buffer("positions", weight[None, :LENGTH].clone(), persistent=False)
        self.register_buffer(
            "causal",
            torch.full((LENGTH, LENGTH), lowest, dtype=weight.dtype).triu(1)[None, None],
            persistent=False,
        )
        self.register_buffer("order", torch.arange(LENGTH, 0, -1, dtype=torch.int32)[None], persistent=False)

    def _attention(self, block: Any, x: Tensor, mask: Tensor) -> Tensor:
        width = x.shape[-1]
        head = width // self.heads

        def split(t: Tensor) -> Tensor:
            return t.reshape(-1, LENGTH, self.heads, head).transpose(1, 2)

        q, k, v = split(block.q_proj(x)), split(block.k_proj(x)), split(block.v_proj(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) * head**-0.5 + mask
        # Softmax in float32 as transformers does it: in float16 the sum over 77 positions loses digits.
        weights = torch.softmax(scores.float(), dim=-1).to(x.dtype)
        out: Tensor = block.out_proj(torch.matmul(weights, v).transpose(1, 2).reshape(-1, LENGTH, width))
        return out

    def _pool(self, ids: Tensor, last: Tensor) -> Tensor:
        ids = ids.to(torch.int32)
        # Several positions hold the winning id (padding repeats EOS): the earliest one wins by `order`, as
        # torch.argmax has it.
        rank = ids if self.eos == 2 else (ids == self.eos).to(torch.int32)
        score = rank * 128 + self.order
        hit = (score == score.amax(dim=-1, keepdim=True)).to(last.dtype)
        return torch.matmul(hit[:, None, :], last).squeeze(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        mask = self.causal
        if attention_mask is not None:
            lowest = torch.finfo(mask.dtype).min
            mask = torch.minimum(mask, (1 - attention_mask.to(mask.dtype))[:, None, None, :] * lowest)
        x = self.tokens(input_ids) + self.positions
        hidden = [x]
        for layer in self.layers:
            block: Any = layer
            x = x + self._attention(block.self_attn, block.layer_norm1(x), mask)
            x = x + block.mlp(block.layer_norm2(x))
            hidden.append(x)
        last = self.final_layer_norm(x)
        pooled = self._pool(input_ids, last)
        named = {
            "last_hidden_state": last,
            "pooler_output": pooled,
            **{f"hidden_states.{i}": h for i, h in enumerate(hidden)},
        }
        if self.text_projection is not None:
            # A matrix of two dimensions would become a Gemm, of which no engine was built yet.
            named["text_embeds"] = self.text_projection(pooled[:, None, :]).squeeze(1)
        named["text_embeddings"] = named.get("text_embeds", last)
        named["hidden_states"], named["pooled_embeddings"] = hidden[-2], pooled
        return tuple(named[name] for name in self.signature.outputs)
