"""Token embeddings of an encoder: where they are looked up, and of which positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def token_tables(encoder: Any) -> list[nn.Module]:
    """The modules that look tokens up. T5 does it through a second module that shares the first one's
    weight."""
    weight = encoder.get_input_embeddings().weight
    return [part for part in encoder.modules() if isinstance(part, nn.Embedding) and part.weight is weight]


def beginning(given: Tensor, whole: Tensor) -> int:
    """Where the ids that an encoder was given [b, l] begin among those that were tokenized [b, L]: a family
    that pads to the longest prompt leaves pads out, on whichever side they are.

    Raises:
        ValueError: they are no stretch of them.
    """
    if given.shape == whole.shape:
        return 0
    length = given.shape[1]
    last = whole.shape[1] - length
    starts: list[int] = [0, last, *range(1, last)]
    for start in starts:
        if torch.equal(given, whole[:, start : start + length]):
            return start
    raise ValueError("an encoder was given other tokens than those of its prompts")
