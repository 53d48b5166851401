"""Every search finds what was planted, beats chance at equal cost, repeats itself and minds its prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.search_case import FREE, LENGTH, VOCABULARY, Counted, planted, problem, table
from torch import Tensor

from safetext_sdk.search.bandit import bandit
from safetext_sdk.search.coordinate_descent import coordinate_descent
from safetext_sdk.search.coordinate_gradient import coordinate_gradient
from safetext_sdk.search.genetic import genetic
from safetext_sdk.search.objective import EmbeddingObjective, Slopes
from safetext_sdk.search.problem import Found, Problem
from safetext_sdk.search.random_search import random_search

Run = Callable[[Any, Problem], Found]
SEARCHES: dict[str, Run] = {
    "coordinate gradient": lambda o, p: coordinate_gradient(o, p, steps=40, candidates=32, top=128),
    "coordinate descent": lambda o, p: coordinate_descent(o, p, steps=9, candidates=24),
    "genetic": lambda o, p: genetic(o, p, generations=20, population=40),
    "bandit": lambda o, p: bandit(o, p, evaluations=480, width=16, arms=190),
    "random": lambda o, p: random_search(o, p, evaluations=300, width=64),
}


def tokens(found: Found) -> Tensor:
    return found.ids[:, list(FREE)]


@pytest.mark.parametrize("name", ["coordinate gradient", "coordinate descent"])
def test_gradient_searches_find_the_planted_tokens(name: str) -> None:
    objective, wanted = planted()
    found = SEARCHES[name](objective, problem())
    assert torch.equal(tokens(found), wanted)
    assert found.losses.abs().max() < 1e-5


@pytest.mark.parametrize("name", ["genetic", "bandit"])
def test_searches_without_gradients_find_one_planted_token(name: str) -> None:
    """A backdoor word: nothing but the word itself lowers the loss at its position."""
    word = 77

    class Backdoor:
        def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
            return 1.0 - (ids[:, list(FREE)] == word).any(1).float()

    found = SEARCHES[name](Backdoor(), problem(allowed=torch.arange(60, 90)))
    assert (tokens(found) == word).any(1).all()


def test_a_bandit_draws_at_random_until_losses_differ() -> None:
    """A judge that says the same of every text but those with one word teaches nothing before it is met."""
    word, asked = 27, []

    class Rare:
        def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
            asked.extend(map(tuple, ids[:, list(FREE)].tolist()))
            return 1.0 - 0.5 * (ids[:, FREE[0]] == word).float()

    few = problem(1, allowed=torch.arange(10, 34), exhaustive=True, seeds=(5,))
    found = bandit(Rare(), few, evaluations=120, width=6, arms=24)
    words = [first for first, *_ in asked]
    assert word not in words[:25]
    assert len(set(asked[1:25])) == 24  # without a spread in the first round it sent the same text ever after
    assert tokens(found)[0, 0] == word
    assert words[60:].count(word) > 30  # and once there is a spread, it learns


def test_a_bandit_spends_what_it_is_given() -> None:
    for evaluations in (1, 5, 6, 23):
        objective, _ = planted()
        told: list[tuple[int, int]] = []
        where = problem(exhaustive=True, progress=lambda done, total, told=told: told.append((done, total)))
        found = bandit(objective, where, evaluations=evaluations, width=6)
        assert found.forward_passes.tolist() == [evaluations + 1] * 3
        assert told[-1] == (evaluations, evaluations)


@pytest.mark.parametrize("name", ["coordinate gradient", "coordinate descent", "random"])
def test_a_loss_that_is_no_number_hides_no_other(name: str) -> None:
    """An encoder that answers NaN to some words would else stop every step that draws one of them."""
    objective, _ = planted()
    plain = SEARCHES[name](objective, problem())
    honest = objective.loss

    def broken(ids: Tensor, prompts: Tensor) -> Tensor:
        return honest(ids, prompts).masked_fill((ids % 4 == 2).any(1), torch.nan)

    objective.loss = broken  # type: ignore[method-assign]
    found = SEARCHES[name](objective, problem())
    assert found.losses.isfinite().all()
    assert (found.losses < plain.start).all()
    assert ((tokens(found) % 4) != 2).all()


@pytest.mark.parametrize("name", [n for n in SEARCHES if n != "random"])
def test_a_search_beats_random_search_of_equal_cost(name: str) -> None:
    n = 8
    objective, _ = planted(n)
    found = SEARCHES[name](objective, problem(n))
    chance = random_search(objective, problem(n), evaluations=int(found.forward_passes[0]) - 1)
    assert (found.forward_passes <= chance.forward_passes).all()
    assert found.losses.mean() < chance.losses.mean() - 0.5
    assert (found.losses < chance.losses).float().mean() >= 0.75


@pytest.mark.parametrize("name", SEARCHES)
def test_what_is_reported_is_true(name: str) -> None:
    objective, _ = planted()
    start = problem()
    found = SEARCHES[name](objective, start)
    index = torch.arange(3)
    assert torch.allclose(objective.loss(found.ids, index), found.losses, atol=1e-6)
    assert torch.allclose(objective.loss(start.ids, index), found.start, atol=1e-6)
    assert (found.losses < found.start).all()
    fixed = [i for i in range(LENGTH) if i not in FREE]
    assert torch.equal(found.ids[:, fixed], start.ids[:, fixed])
    assert (tokens(found) >= 10).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_it_repeats_itself_and_a_prompt_minds_no_neighbour(name: str) -> None:
    objective, wanted = planted()
    whole = SEARCHES[name](objective, problem())
    again = SEARCHES[name](planted()[0], problem())
    assert torch.equal(whole.ids, again.ids)

    def loss_of(inputs: list[Tensor], ids: Tensor, prompts: Tensor) -> Tensor:
        far = (inputs[0][:, list(FREE)] - table()[wanted[1]]).square().sum(-1)
        return torch.log1p(far).sum(-1)

    alone = SEARCHES[name](Counted([table()], loss_of), problem(1, seeds=(101,)))
    assert torch.equal(alone.ids[0], whole.ids[1])
    other = SEARCHES[name](objective, problem(seeds=(1, 2, 3)))
    assert not torch.equal(other.ids, whole.ids) or torch.equal(tokens(other), wanted)


@pytest.mark.parametrize("name", SEARCHES)
def test_passes_are_counted_and_memory_is_minded(name: str) -> None:
    largest = 0

    class Watched(Counted):
        sloped = 0

        def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
            nonlocal largest
            largest = max(largest, len(ids))
            return super().loss(ids, prompts)

        def slopes(self, ids: Tensor, prompts: Tensor, free: Tensor) -> Slopes:
            self.sloped += len(ids)
            return super().slopes(ids, prompts, free)

    plain, _ = planted()
    for exhaustive in (False, True):
        objective = Watched(plain.tables, plain.loss_of)
        found = SEARCHES[name](objective, problem(at_once=7, exhaustive=exhaustive))
        assert largest == 7
        gradients = {"coordinate gradient": 40 * 2, "coordinate descent": 9 * 2}.get(name, 0)
        made = objective.rows + 2 * objective.sloped
        assert int(found.forward_passes.sum()) == made + int(found.spared.sum())
        if exhaustive:
            assert made == objective.rows + 3 * gradients
            assert not found.spared.any()
        assert torch.equal(found.ids, SEARCHES[name](plain, problem()).ids)


@pytest.mark.parametrize("name", SEARCHES)
def test_no_row_is_computed_twice_and_the_same_is_found(name: str) -> None:
    seen: list[tuple[int, ...]] = []

    class Watched(Counted):
        def loss(self, ids: Tensor, prompts: Tensor) -> Tensor:
            pairs = zip(ids.tolist(), prompts.tolist(), strict=True)
            seen.extend((prompt, *row) for row, prompt in pairs)
            return super().loss(ids, prompts)

    plain, _ = planted()
    few = {"allowed": torch.arange(10, 40), "accept": lambda rows, _: rows[:, FREE[0]] != 20}
    watched = Watched(plain.tables, plain.loss_of)
    found = SEARCHES[name](watched, problem(**few))
    assert len(seen) == len(set(seen))
    whole = SEARCHES[name](plain, problem(**few, exhaustive=True))
    for one, other in (
        (found.ids, whole.ids),
        (found.losses, whole.losses),
        (found.forward_passes, whole.forward_passes),
    ):
        assert torch.equal(one, other)
    assert (found.spared > 0).all()


def test_little_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = planted()
    whole = SEARCHES["coordinate gradient"](plain, problem())
    monkeypatch.setattr("safetext_sdk.search.problem.KNOWN", 20)
    found = SEARCHES["coordinate gradient"](plain, problem())
    assert torch.equal(found.ids, whole.ids)
    assert 0 < int(found.spared.sum()) < int(whole.spared.sum())


@pytest.mark.parametrize("name", SEARCHES)
def test_rows_that_cannot_win_are_left_early(name: str) -> None:
    """A loss that is a sum over the positions: whoever keeps only what is better may stop at a part of it."""
    plain, wanted = planted()
    parts = left = 0

    class Bounded(Counted):
        def loss_below(self, ids: Tensor, prompts: Tensor, bound: Tensor) -> Tensor:
            nonlocal parts, left
            with torch.no_grad():
                far = (table()[ids[:, list(FREE)]] - table()[wanted[prompts]]).square().sum(-1)
                part, all_of_it = torch.log1p(far[:, :2]).sum(-1), self.loss(ids, prompts)
            parts, left = parts + len(ids), left + int((part >= bound).sum())
            return torch.where(part < bound, all_of_it, part)

    found = SEARCHES[name](Bounded(plain.tables, plain.loss_of), problem())
    whole = SEARCHES[name](plain, problem(exhaustive=True))
    assert torch.equal(found.ids, whole.ids)
    assert torch.equal(found.losses, whole.losses)
    assert torch.equal(found.forward_passes, whole.forward_passes)
    if name in ("genetic", "bandit"):  # they read the losses of the others too
        assert parts == 0
    else:
        assert left > parts / 10


@pytest.mark.parametrize("name", SEARCHES)
def test_refused_rows_are_neither_chosen_nor_paid(name: str) -> None:
    """Only rows whose tokens are all even are texts here."""

    def even(rows: Tensor, prompts: Tensor) -> Tensor:
        assert len(prompts) == len(rows)
        return (rows[:, list(FREE)] % 2 == 0).all(1)

    objective, _ = planted()
    start = torch.full((3, LENGTH), 2)
    found = SEARCHES[name](objective, problem(ids=start, accept=even))
    assert even(found.ids, torch.arange(3)).all()
    assert (found.losses < found.start).any()
    free = SEARCHES[name](planted()[0], problem(ids=start))
    assert (found.forward_passes < free.forward_passes).all()
    nothing = SEARCHES[name](
        objective, problem(accept=lambda rows, _: torch.zeros(len(rows), dtype=torch.bool))
    )
    assert torch.equal(nothing.ids, problem().ids)


@pytest.mark.parametrize("name", SEARCHES)
def test_progress_ends_at_its_end(name: str) -> None:
    told: list[tuple[int, int]] = []
    SEARCHES[name](planted()[0], problem(progress=lambda done, total: told.append((done, total))))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_first_order_agrees_with_finite_differences() -> None:
    """Two tables of different width, in double precision, against a small step towards the candidate."""
    generator = torch.Generator().manual_seed(3)
    tables = [torch.randn(50, d, generator=generator, dtype=torch.float64) for d in (4, 6)]

    def loss_of(inputs: list[Tensor], ids: Tensor, prompts: Tensor) -> Tensor:
        return sum((x.sin().sum(-1) * x.square().mean(-1)).sum(-1) * (1 + prompts) for x in inputs)  # type: ignore[return-value]

    objective = EmbeddingObjective(tables, loss_of)
    ids = torch.randint(50, (2, 5), generator=generator)
    free, allowed = torch.tensor([[1, 3], [0, 4]]), torch.tensor([7, 20, 33])
    got = objective.first_order(ids, torch.arange(2), free, allowed)
    eps = 1e-6
    for row in range(2):
        index = torch.tensor([row])
        for slot, position in enumerate(free[row].tolist()):
            for c, token in enumerate(allowed.tolist()):
                losses = []
                for sign in (1, -1):
                    moved = [t[ids[row]].clone() for t in tables]
                    for t, m in zip(tables, moved, strict=True):
                        m[position] += sign * eps * (t[token] - t[ids[row, position]])
                    losses.append(loss_of([m[None] for m in moved], ids[index], index))
                want = float((losses[0] - losses[1]) / (2 * eps))
                assert float(got[row, slot, c]) == pytest.approx(want, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (1,)}, "3 prompts, 3 rows of positions, 1 seeds"),
        ({"allowed": torch.zeros(0, dtype=torch.int64)}, "no token is allowed"),
        ({"free": torch.zeros(3, 0, dtype=torch.int64)}, "no position is free"),
        ({"ids": torch.ones(3, dtype=torch.int64)}, r"ids are \[n, L\]"),
    ],
)
def test_a_problem_without_an_answer_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem(**changes)


def test_fewer_tokens_than_candidates() -> None:
    objective, _ = planted()
    few = problem(allowed=torch.tensor([20, 30]))
    for search in (SEARCHES["coordinate gradient"], SEARCHES["coordinate descent"], SEARCHES["bandit"]):
        assert set(tokens(search(objective, few)).flatten().tolist()) <= {1, 20, 30}
    assert VOCABULARY > 30
    with pytest.raises(ValueError, match="at least 4 rows"):
        genetic(objective, few, generations=1, population=3)
