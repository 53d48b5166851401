"""Rows of token ids as every encoder of a model reads them.

The tokens that are searched are those of the first encoder. Encoders with the same vocabulary get the same
tokens, and gradients flow through them; others (T5 beside CLIP) read the text that the tokens are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.embeddings import token_tables
from ..models.families import Tokens
from ..models.model import TextToImageModel
from ..search.candidates import Candidates, Templates, Tokenize, free_positions, round_trip, with_room
from ..search.problem import Accept


class TokenRows:
    """Prompts with free words.

    Args:
        model: whose encoders and tokenizers.
        templates: n texts with slots for the words that are searched.
        fillers: two usable tokens; ``ids`` begin with the first.

    Raises:
        ValueError: a template has no room for its words.
    """

    def __init__(self, model: TextToImageModel, templates: Templates, fillers: tuple[int, int]) -> None:
        self.model, self.templates = model, templates
        self.first = next(iter(model.tokenizers))
        self.shared = of_one_vocabulary(model)
        self.others = [name for name in model.tokenizers if name not in self.shared]
        self.places = {
            name: free_positions(self._ids_of(name), templates, fillers)[1].to(model.device)
            for name in self.shared
        }
        """Free positions of every encoder that reads the tokens [n, k]."""
        rows = torch.arange(len(templates.texts))
        begin = templates.write(torch.full_like(self.free, fillers[0]), rows)
        self.start: Tokens = _moved(model.tokenize(begin), model.device)

    @property
    def free(self) -> Tensor:
        """Free positions of the first encoder [n, k]."""
        return self.places[self.first]

    @property
    def ids(self) -> Tensor:
        """Where a search begins [n, L]: the first filler everywhere."""
        return self.start[self.first]["input_ids"]

    def tokens(self, ids: Tensor, rows: Tensor) -> Tokens:
        """Tokens of every encoder for ids of the first one [r, L]; ``rows`` [r]: the template of each."""
        words = ids.gather(1, self.free[rows])
        out: Tokens = {}
        for name in self.shared:
            parts = {key: t[rows] for key, t in self.start[name].items()}
            parts["input_ids"] = parts["input_ids"].scatter(1, self.places[name][rows], words)
            out[name] = parts
        if self.others:
            read = self.model.tokenize(self.templates.write(words, rows))
            out |= _moved({name: read[name] for name in self.others}, ids.device)
        return {name: out[name] for name in self.model.tokenizers}

    def texts(self, ids: Tensor) -> list[str]:
        """What a user types for one row a template [n, L]."""
        every = torch.arange(len(ids), device=ids.device)
        return self.templates.write(ids.gather(1, self.free), every)

    def accept(self) -> Accept:
        """Whether the text of a row gives that row again."""
        return round_trip(self._ids_of(self.first), self.templates, self.free)

    def table(self, name: str) -> Tensor:
        """Embedding table of an encoder [V, d]."""
        weight: Tensor = self.model.encoders[name].get_input_embeddings().weight
        return weight.detach()

    def _ids_of(self, name: str) -> Tokenize:
        return ids_of(self.model, name)


def numbers(model: TextToImageModel, ids: Tensor) -> list[bool]:
    """Which tokens have embeddings that are numbers, in every encoder that reads the first one's tokens. One
    that has none gives nothing to descend on, and spoils what is ranked beside it."""
    tokenizers = list(model.tokenizers.items())
    vocabulary = tokenizers[0][1].get_vocab()
    fine = torch.ones(len(ids), dtype=torch.bool)
    for name, tokenizer in tokenizers:
        encoder: Any = model.encoders.get(name)
        if isinstance(encoder, nn.Module) and tokenizer.get_vocab() == vocabulary:
            table = encoder.get_input_embeddings().weight.detach()  # type: ignore[operator]
            fine &= table[ids.to(table.device)].isfinite().all(-1).cpu()
    found: list[bool] = fine.tolist()
    return found


def ids_of(model: TextToImageModel, name: str) -> Tokenize:
    """Texts to the token ids of one encoder, as the model's pipeline makes them."""
    return lambda texts: model.tokenize(texts)[name]["input_ids"]


@dataclass(frozen=True)
class Looked:
    """What an encoder looked up: ids [r, l] and their embeddings [r, l, d], which gradients can be taken
    of."""

    ids: Tensor
    values: Tensor


@contextmanager
def embeddings_of(encoders: Mapping[str, nn.Module]) -> Iterator[dict[str, Looked]]:
    """While it lasts, what the encoders' token embeddings give out are leaves that gradients can be taken of;
    they appear in the yielded mapping, by encoder, once the encoder has run. An encoder that runs again, for
    texts of a defence's own, looks those up as ever: the first run is that of the prompts."""
    looked: dict[str, Looked] = {}

    def catch(name: str) -> Any:
        def hook(_module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            if name in looked:
                return None
            looked[name] = Looked(inputs[0], output.detach().requires_grad_(True))
            return looked[name].values

        return hook

    handles = [
        table.register_forward_hook(catch(name))
        for name, encoder in encoders.items()
        for table in token_tables(encoder)
    ]
    try:
        yield looked
    finally:
        for handle in handles:
            handle.remove()


def _moved(tokens: Mapping[str, Mapping[str, Tensor]], device: torch.device) -> Tokens:
    return {name: {key: t.to(device) for key, t in parts.items()} for name, parts in tokens.items()}


def of_one_vocabulary(model: TextToImageModel) -> list[str]:
    """The first encoder and those that read the same tokens."""
    vocabulary = next(iter(model.tokenizers.values())).get_vocab()
    return [name for name, tokenizer in model.tokenizers.items() if tokenizer.get_vocab() == vocabulary]


def repeated(
    model: TextToImageModel, usable: Candidates, forms: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[int]]:
    """Templates of several forms a prompt as one list, and the prompt that each is about. Of a long prompt,
    whose end no encoder reads, only those forms that have room for their words; all of them if none has."""
    flat = [(text, prompt) for prompt, each in enumerate(forms) for text in each]
    if len(flat) > len(forms):
        templates = usable.templates([text for text, _ in flat])
        fillers = (int(usable.ids[0]), int(usable.ids[-1]))
        room = [with_room(ids_of(model, name), templates, fillers) for name in of_one_vocabulary(model)]
        fits = [all(each) for each in zip(*room, strict=True)]
        some = {prompt for (_, prompt), fit in zip(flat, fits, strict=True) if fit}
        flat = [row for row, fit in zip(flat, fits, strict=True) if fit or row[1] not in some]
    return tuple(text for text, _ in flat), [prompt for _, prompt in flat]
