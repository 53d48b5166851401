"""Objectives whose best tokens are known, for tests of token searches."""

from __future__ import annotations

import torch
from torch import Tensor

from safetext_sdk.search.objective import EmbeddingObjective
from safetext_sdk.search.problem import Problem

VOCABULARY, WIDTH, LENGTH = 200, 8, 7
FREE = (1, 3, 4)


class Counted(EmbeddingObjective):
    """Counts the rows that go through it."""

    rows = 0

    def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
        self.rows += len(ids)
        return super().loss(ids, prompts)


def table() -> Tensor:
    return torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0))


def planted(n: int = 3, seed: int = 1) -> tuple[Counted, Tensor]:
    """Every prompt wants tokens of its own at the free positions; the loss is a bent distance to them.

    Returns:
        The objective, smallest (zero) at the planted tokens, and those tokens [n, k].
    """
    embeddings = table()
    wanted = torch.randint(20, VOCABULARY, (n, len(FREE)), generator=torch.Generator().manual_seed(seed))

    def loss_of(inputs: list[Tensor], ids: Tensor, prompts: Tensor) -> Tensor:
        far = (inputs[0][:, list(FREE)] - embeddings[wanted[prompts]]).square().sum(-1)  # [r, k]
        return torch.log1p(far).sum(-1)

    return Counted([embeddings], loss_of), wanted


def problem(n: int = 3, **changes: object) -> Problem:
    """Prompts of token 1 everywhere; tokens from 10 on may be used."""
    given: dict[str, object] = {
        "ids": torch.ones(n, LENGTH, dtype=torch.int64),
        "free": torch.tensor([FREE] * n),
        "allowed": torch.arange(10, VOCABULARY),
        "seeds": tuple(range(100, 100 + n)),
    }
    return Problem(**{**given, **changes})  # type: ignore[arg-type]
