"""A T5 or UMT5 encoder as a plain graph, for any number of positions.

* It reads the weights of transformers' ``T5EncoderModel`` or ``UMT5EncoderModel`` and computes the forward
  pass itself (T5: arXiv 1910.10683; gated feed-forward: arXiv 2002.05202), so that a graph does not change
  with the transformers version.
* Batch and length are dynamic. The bias by relative position is one small constant table a layer: distances
  past ``relative_attention_max_distance`` all share one bucket, so every distance is looked up in a table of
  twice that many rows, whatever the length.
* The residual stream, softmax and the last product of the feed-forward part stay in float32, because T5's
  activations leave the range of float16.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("last_hidden_state",)


def is_t5(encoder: Any) -> bool:
    """Whether this is the encoder half of a T5 or UMT5."""
    config = getattr(encoder, "config", None)
    return (
        isinstance(encoder, nn.Module)
        and getattr(config, "model_type", "") in ("t5", "umt5")
        and hasattr(getattr(encoder, "encoder", None), "block")
    )


class T5Graph(nn.Module):
    """``input_ids`` and ``attention_mask`` [b, L] to ``last_hidden_state`` [b, L, d] in float32.

    Args:
        encoder: transformers' T5 or UMT5 encoder, which is copied to the CPU.
        half: weights in float16, but for those of the layers that would overflow.
    """

    def __init__(self, encoder: nn.Module, half: bool = False) -> None:
        super().__init__()
        plain: Any = copy.deepcopy(encoder).to("cpu", torch.float32).eval().requires_grad_(False)
        config = plain.config
        self.heads, self.head = int(config.num_heads), int(config.d_kv)
        self.reach = int(config.relative_attention_max_distance)
        self.tokens = plain.get_input_embeddings()
        self.blocks = plain.encoder.block
        self.final_layer_norm = plain.encoder.final_layer_norm
        attentions = [block.layer[0].SelfAttention for block in self.blocks]
        # T5 has one table, in the first layer, for all of them; UMT5 has one a layer.
        owners = [a for a in attentions if a.has_relative_attention_bias]
        self.tables = nn.ParameterList([nn.Parameter(_table(a, self.reach), False) for a in owners])
        if half:
            for name, module in self.named_modules():
                if isinstance(module, nn.Linear | nn.Embedding) and not name.endswith(".wo"):
                    module.half()

    def _attention(self, part: Any, x: Tensor, bias: Tensor) -> Tensor:
        b, length, _ = x.shape

        def split(t: Tensor) -> Tensor:
            return t.reshape(b, length, self.heads, self.head).transpose(1, 2)

        x = x.to(part.q.weight.dtype)
        q, k, v = split(part.q(x)), split(part.k(x)), split(part.v(x))
        weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)).float() + bias, dim=-1).to(x.dtype)
        mixed = torch.matmul(weights, v).transpose(1, 2).reshape(b, length, self.heads * self.head)
        out: Tensor = part.o(mixed)
        return out.float()

    def _feed_forward(self, part: Any, x: Tensor) -> Tensor:
        gate = part.wi_0 if hasattr(part, "wi_0") else part.wi
        x = x.to(gate.weight.dtype)
        inner = part.act(gate(x).float())
        if hasattr(part, "wi_1"):
            inner = inner * part.wi_1(x).float()
        out: Tensor = part.wo(inner)
        return out

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.tokens(input_ids).float()
        mask = (1 - attention_mask.float())[:, None, None, :] * torch.finfo(torch.float32).min
        # Counted: no Range is left in the graph.
        places = torch.ones_like(input_ids[0], dtype=torch.int64).cumsum(0)
        distance = (places[None, :] - places[:, None]).clamp(-self.reach, self.reach) + self.reach
        bias = mask
        for i, block in enumerate(self.blocks):
            attend, feed = block.layer[0], block.layer[-1]
            if i < len(self.tables):
                bias = self.tables[i][distance].permute(2, 0, 1)[None] + mask
            x = x + self._attention(attend.SelfAttention, attend.layer_norm(x), bias)
            x = x + self._feed_forward(feed.DenseReluDense, feed.layer_norm(x))
        last: Tensor = self.final_layer_norm(x)
        return last


def _table(attention: Any, reach: int) -> Tensor:
    """The bias for every distance from -reach to reach: [2 * reach + 1, heads]."""
    with torch.no_grad():
        square: Tensor = attention.compute_bias(reach + 1, reach + 1)[0]  # [heads, query, key]
    behind, ahead = square[:, :, 0].flip(1), square[:, 0, 1:]
    return torch.cat([behind, ahead], dim=1).T.contiguous().float()
