"""New tokens with vectors of their own, as textual inversion adds them: a copy of tokenizer and embedding
table, so that pictures still come from text through the ordinary pipeline."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.embeddings import token_tables
from ..models.model import TextToImageModel

Vectors = Mapping[str, Tensor]
"""By encoder: vectors of the new tokens [t, d]."""
LEGACY_EOS = 2
"""With this end token in its configuration, a CLIP encoder pools at the largest id: a new token would be
taken for the end."""


@dataclass(frozen=True)
class Learner:
    """A model whose new tokens read ``vectors``, which may be trained.

    Attributes:
        model: with the tokens; its table holds what the vectors were in the beginning.
        names: of the tokens, t of them.
        vectors: leaves that require gradients, fp32.
        first: by encoder, the id of the first new token.
    """

    model: TextToImageModel
    names: tuple[str, ...]
    vectors: dict[str, Tensor]
    first: dict[str, int]

    @contextmanager
    def reading(self) -> Iterator[TextToImageModel]:
        """While it lasts, the model reads the vectors, and gradients flow into them."""
        with ExitStack() as stack:
            for name, encoder in self.model.encoders.items():
                for module in token_tables(encoder):
                    hook = _reads(self.vectors[name], self.first[name])
                    stack.callback(module.register_forward_hook(hook).remove)
            yield self.model

    def written(self) -> dict[str, Tensor]:
        """The vectors as they are now."""
        return {name: vector.detach().clone() for name, vector in self.vectors.items()}


def add_tokens(model: TextToImageModel, names: Sequence[str], vectors: Vectors) -> TextToImageModel:
    """The model with new tokens; its own tokenizers and encoders are not touched, and what it reads of texts
    without the tokens stays the same to the bit.

    Args:
        names: one word each, e.g. ``<soft-1>``; none may be a token already.
        vectors: of every encoder, in the order of ``names``.

    Raises:
        ModelError: an encoder is an exported file, or a name is taken.
    """
    tokenizers: dict[str, Any] = {}
    encoders: dict[str, Any] = {}
    for encoder_name, encoder in model.encoders.items():
        if not isinstance(encoder, nn.Module):
            raise ModelError(f"{encoder_name} is an exported file and takes no new tokens")
        tokenizer = copy.deepcopy(model.tokenizers[encoder_name])
        if tokenizer.add_tokens(list(names)) != len(names):
            raise ModelError(f"the tokenizer of {encoder_name} knows one of {', '.join(names)} already")
        changed: Any = copy.deepcopy(encoder)
        ids = tokenizer.convert_tokens_to_ids(list(names))
        if len(tokenizer) > changed.get_input_embeddings().num_embeddings:
            changed.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = changed.get_input_embeddings().weight
        with torch.no_grad():
            table[ids] = vectors[encoder_name].to(table.device, table.dtype)
        for part in changed.modules():
            if getattr(part, "eos_token_id", None) == LEGACY_EOS:
                part.eos_token_id = tokenizer.eos_token_id
        tokenizers[encoder_name], encoders[encoder_name] = tokenizer, changed.eval()
    return model.with_tokenizers(tokenizers).with_encoders(encoders)


def learner(model: TextToImageModel, names: Sequence[str], start: Mapping[str, Sequence[str]]) -> Learner:
    """Tokens to train.

    Args:
        start: by token, the words whose mean embedding it starts as.

    Raises:
        ModelError: see `add_tokens`.
    """
    vectors = {}
    for encoder_name, encoder in model.encoders.items():
        if not isinstance(encoder, nn.Module):
            raise ModelError(f"{encoder_name} is an exported file and takes no new tokens")
        tokenizer = model.tokenizers[encoder_name]
        table = encoder.get_input_embeddings().weight.detach().float()  # type: ignore[operator]
        rows = []
        for name in names:
            ids = tokenizer(" ".join(start[name]), add_special_tokens=False)["input_ids"]
            rows.append(table[ids].mean(0))
        vectors[encoder_name] = torch.stack(rows)
    changed = add_tokens(model, names, vectors)
    first = {n: t.convert_tokens_to_ids(names[0]) for n, t in changed.tokenizers.items()}
    leaves = {name: vector.clone().requires_grad_(True) for name, vector in vectors.items()}
    return Learner(changed, tuple(names), leaves, first)


def typical_size(model: TextToImageModel, encoder: str) -> float:
    """Standard deviation of an encoder's token embeddings: the unit of a learning rate that fits them all."""
    return float(model.encoders[encoder].get_input_embeddings().weight.detach().float().std())


def _reads(vectors: Tensor, first: int) -> Any:
    """A hook that puts the vectors where their tokens stand."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        ids = inputs[0]
        new = (ids >= first) & (ids < first + len(vectors))
        index = (ids - first).clamp(0, len(vectors) - 1)
        return torch.where(new.unsqueeze(-1), vectors.to(output.dtype)[index], output)

    return hook
