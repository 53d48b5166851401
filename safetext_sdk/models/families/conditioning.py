"""What the denoiser reads, as data, and what gives it: tokens, conditioning, pieces, encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Tokens = dict[str, dict[str, Tensor]]
"""``{encoder name: {"input_ids": [b, L] int64, "attention_mask": [b, L] int64}}``; L may differ between
encoders."""

Pieces = dict[str, Tensor]
"""``{piece name: [b, L, d] or [b, d]}``: what each encoder contributes to the conditioning."""


@dataclass
class Conditioning:
    """Exactly the tensors that the denoiser reads, first dimension = prompt.

    ``prompt_embeds`` [b, L, d]; ``pooled_prompt_embeds`` [b, p] where the family has it.
    """

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return int(next(iter(self.tensors.values())).shape[0])

    def flat(self) -> Tensor:
        """All of it as one matrix [b, n]: every tensor flattened and joined, in the order of ``tensors``."""
        return torch.cat([t.reshape(t.shape[0], -1) for t in self.tensors.values()], dim=1)

    def select(self, index: Any) -> Conditioning:
        """The prompts at ``index`` (a slice, a list of numbers or an index tensor)."""
        return Conditioning({name: t[index] for name, t in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Several conditionings of one model, one after the other."""
        if not parts:
            raise ValueError("nothing to join")
        return Conditioning({name: torch.cat([p.tensors[name] for p in parts]) for name in parts[0].tensors})

    def to(self, *args: Any, **kwargs: Any) -> Conditioning:
        """Every tensor moved or cast, as ``Tensor.to``."""
        return Conditioning({name: t.to(*args, **kwargs) for name, t in self.tensors.items()})


@runtime_checkable
class EncoderLike(Protocol):
    """Anything a pipeline can call as its text encoder: a transformers module or an exported file behind a
    small wrapper.

    Calling it with ``(input_ids, attention_mask=None, output_hidden_states=False, return_dict=True)`` gives
    an object with ``last_hidden_state`` [b, L, d] and, where the architecture has them, ``hidden_states``,
    ``pooler_output``, ``text_embeds``.
    """

    @property
    def config(self) -> Any: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any: ...


def piece_owner(name: str) -> str:
    """The encoder that a piece comes from."""
    return name.removesuffix("_pooled")
