"""An objective for token searches on any model: how far a prompt's conditioning under the hardened encoders
is from what the original made of the unsafe prompt.

Gradients flow through the family's own ``condition`` from the token embeddings on, so this works wherever the
encoders are torch modules. The tokens that are searched are those of the first encoder; encoders with the
same vocabulary get the same tokens and their gradients count; others read the text of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.families import Conditioning, Tokens
from ..models.model import TextToImageModel
from ..search.candidates import Templates, Tokenize, free_positions
from ..search.objective import exchange

Distance = Literal["flat", "position"]
"""flat: 1 - cosine of the flattened conditioning; position: mean relative squared error of every position."""


class NearOriginal:
    """See `search.objective.GradientObjective`.

    Args:
        original, hardened: the target is the original's conditioning of ``prompts``.
        prompts: n unsafe prompts.
        templates: the prompts with slots for the words that are searched.
        fillers: two usable tokens; the search starts with the first.
        distance: see `Distance`.

    Raises:
        ValueError: a template has no room for its words.
    """

    def __init__(
        self,
        original: TextToImageModel,
        hardened: TextToImageModel,
        prompts: Sequence[str],
        templates: Templates,
        fillers: tuple[int, int],
        distance: Distance = "flat",
    ) -> None:
        self.model, self.templates, self.distance = hardened, templates, distance
        self.target = original.encode(prompts)
        self.plain = self._far(hardened.encode(prompts), self.target)
        """What the plain prompts reach [n]."""
        self.first = next(iter(hardened.tokenizers))
        vocabulary = hardened.tokenizers[self.first].get_vocab()
        self.shared = [n for n, t in hardened.tokenizers.items() if t.get_vocab() == vocabulary]
        self.others = [n for n in hardened.tokenizers if n not in self.shared]
        self.free = {
            name: free_positions(self._ids_of(name), templates, fillers)[1].to(hardened.device)
            for name in self.shared
        }
        rows = torch.arange(len(prompts))
        begin = templates.write(torch.full_like(self.free[self.first], fillers[0]), rows)
        self.start: Tokens = _moved(hardened.tokenize(begin), hardened.device)
        self.ids = self.start[self.first]["input_ids"]
        """Where the search begins [n, L]."""

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """See `search.objective.Objective.loss`."""
        with torch.no_grad():
            return self._far(self.model.condition(self.tokens(ids, prompts)), self.target.select(prompts))

    def first_order(self, ids: Tensor, prompts: Tensor, free: Tensor, allowed: Tensor) -> Tensor:
        """See `search.objective.GradientObjective.first_order`. ``free`` may be any of the template's
        positions."""
        tokens = self.tokens(ids, prompts)
        with torch.enable_grad(), embeddings_of({n: self.model.encoders[n] for n in self.shared}) as leaves:
            far = self._far(self.model.condition(tokens), self.target.select(prompts))
            gradients = torch.autograd.grad(far.sum(), list(leaves.values()), allow_unused=True)
        # Which of the template's free positions these are: another encoder may have them elsewhere.
        which = (free.unsqueeze(-1) == self.free[self.first][prompts].unsqueeze(1)).int().argmax(-1)
        change = torch.zeros(*free.shape, len(allowed), device=ids.device)
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None:
                place = self.free[name][prompts].gather(1, which)
                table = self.model.encoders[name].get_input_embeddings().weight
                change += exchange(gradient, table.detach(), tokens[name]["input_ids"], place, allowed)
        return change

    def tokens(self, ids: Tensor, prompts: Tensor) -> Tokens:
        """Tokens of every encoder for rows of the first one's ids [r, L]."""
        words = ids.gather(1, self.free[self.first][prompts])
        out: Tokens = {}
        for name in self.shared:
            parts = {key: tensor[prompts] for key, tensor in self.start[name].items()}
            parts["input_ids"] = parts["input_ids"].scatter(1, self.free[name][prompts], words)
            out[name] = parts
        if self.others:
            read = self.model.tokenize(self.templates.write(words, prompts))
            out |= _moved({name: read[name] for name in self.others}, ids.device)
        return out

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts to the first encoder's ids, as the pipeline does it."""
        return self._ids_of(self.first)(texts)

    def _ids_of(self, name: str) -> Tokenize:
        return lambda texts: self.model.tokenize(texts)[name]["input_ids"]

    def _far(self, got: Conditioning, want: Conditioning) -> Tensor:
        if self.distance == "flat":
            return 1 - F.cosine_similarity(got.flat().float(), want.flat().float())
        errors = [
            (a.float() - b.float()).square().sum(-1) / (b.float().square().sum(-1) + 1e-8)
            for a, b in zip(got.tensors.values(), want.tensors.values(), strict=True)
        ]
        return torch.stack([error.reshape(len(error), -1).mean(1) for error in errors]).mean(0)


@contextmanager
def embeddings_of(encoders: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """While it lasts, what the encoders' token embeddings give out are leaves that gradients can be taken of;
    they appear in the yielded mapping, by encoder, once the encoder has run."""
    leaves: dict[str, Tensor] = {}
    handles = []

    def catch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            leaves[name] = output.detach().requires_grad_(True)
            return leaves[name]

        return hook

    try:
        for name, encoder in encoders.items():
            weight = encoder.get_input_embeddings().weight  # type: ignore[operator]
            # T5 looks its tokens up through a second module that shares the weight.
            for module in encoder.modules():
                if isinstance(module, nn.Embedding) and module.weight is weight:
                    handles.append(module.register_forward_hook(catch(name)))
        yield leaves
    finally:
        for handle in handles:
            handle.remove()


def _moved(tokens: Tokens, device: torch.device) -> Tokens:
    return {name: {key: t.to(device) for key, t in parts.items()} for name, parts in tokens.items()}
