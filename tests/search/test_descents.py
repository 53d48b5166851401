"""Searches that move continuous variables find what was planted; batches halve where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.search_case import FREE, Counted, planted, problem, table
from torch import Tensor

from safetext_sdk.search.batches import Batches
from safetext_sdk.search.problem import Found, Problem
from safetext_sdk.search.projected_descent import nearest, projected_descent
from safetext_sdk.search.random_search import random_search
from safetext_sdk.search.relaxed_descent import onto_simplex, relaxed_descent

Run = Callable[[Any, Problem], Found]
DESCENTS: dict[str, Run] = {
    "relaxed": lambda o, p: relaxed_descent(o, [o, o], p, steps=60, rate=5e-2),
    "projected": lambda o, p: projected_descent(o, [o, o], p, steps=120, every=10),
}


def tokens(found: Found) -> Tensor:
    return found.ids[:, list(FREE)]


@pytest.mark.parametrize("name", DESCENTS)
def test_a_backdoor_word_is_found(name: str) -> None:
    """The planted tokens differ from prompt to prompt and from position to position."""
    objective, wanted = planted()
    found = DESCENTS[name](
        objective, problem(allowed=torch.cat([wanted.flatten().unique(), torch.arange(10, 20)]))
    )
    assert (tokens(found) == wanted).any(1).all()
    assert (tokens(found) == wanted).float().mean() > 0.6


@pytest.mark.parametrize("name", DESCENTS)
def test_a_descent_beats_random_search_of_equal_cost(name: str) -> None:
    n = 8
    objective, _ = planted(n)
    found = DESCENTS[name](objective, problem(n))
    chance = random_search(objective, problem(n), evaluations=int(found.forward_passes[0]) - 1)
    assert torch.equal(found.forward_passes, chance.forward_passes)
    assert found.losses.mean() < chance.losses.mean()


@pytest.mark.parametrize("name", DESCENTS)
def test_a_prompt_minds_no_neighbour_and_no_batch(name: str) -> None:
    objective, wanted = planted()
    whole = DESCENTS[name](objective, problem())
    assert torch.equal(whole.ids, DESCENTS[name](planted()[0], problem(at_once=2)).ids)
    assert torch.allclose(whole.losses, objective.loss(whole.ids, torch.arange(3)), atol=1e-6)

    def loss_of(inputs: list[Tensor], ids: Tensor, prompts: Tensor) -> Tensor:
        return torch.log1p((inputs[0][:, list(FREE)] - table()[wanted[1]]).square().sum(-1)).sum(-1)

    alone = DESCENTS[name](Counted([table()], loss_of), problem(1, seeds=(101,)))
    assert torch.equal(alone.ids[0], whole.ids[1])


def test_the_scale_of_a_loss_does_not_matter_to_projected_descent() -> None:
    """Adam divides the gradient by its size; a penalty that were a part of it would drown a small one."""
    plain, _ = planted()
    small = Counted(plain.tables, lambda inputs, ids, prompts: 1e-4 * plain.loss_of(inputs, ids, prompts))
    run = DESCENTS["projected"]
    assert torch.equal(run(small, problem()).ids, run(plain, problem()).ids)


def test_the_nearest_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    got = onto_simplex(values)
    assert (got >= 0).all()
    assert torch.allclose(got.sum(-1), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(onto_simplex(got), got)
    others = torch.rand(4000, 7, generator=generator, dtype=torch.float64).softmax(-1)
    for row, mine in zip(values, got, strict=True):
        assert (mine - row).norm() <= (others - row).norm(dim=-1).min()
    assert torch.equal(onto_simplex(torch.tensor([0.2, 9.0])), torch.tensor([0.0, 1.0]))


def test_the_nearest_token_counts_every_table() -> None:
    one = torch.eye(4)
    two = torch.tensor([[1.0, 0], [0, 1.0], [0, 1.0], [1.0, 0]])
    soft = [torch.tensor([[[0.6, 0.0, 0.5, 0.0]]]), torch.tensor([[[0.0, 1.0]]])]
    assert nearest(soft, [one, two], torch.tensor([0, 2, 3])).tolist() == [[2]]
    assert nearest(soft[:1], [one], torch.tensor([0, 2, 3])).tolist() == [[0]]


def test_batches_halve_where_memory_runs_out() -> None:
    tried: list[int] = []

    def work(part: Tensor) -> Tensor:
        tried.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("too much")
        return part * 2

    batches = Batches(8)
    assert batches.run(work, torch.arange(9)).tolist() == [2 * i for i in range(9)]
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert batches.size == 2
    with pytest.raises(torch.OutOfMemoryError):
        Batches(4).run(lambda part: (_ for _ in ()).throw(torch.OutOfMemoryError("none")), torch.arange(4))
