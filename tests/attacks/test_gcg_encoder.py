"""The gradient search on miniature encoders of several families: true gradients, and better than chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import minis
from support.attack_case import context, shaken

from safetext_sdk.attacks.encoder_objective import NearOriginal
from safetext_sdk.attacks.gcg_encoder import GcgEncoder
from safetext_sdk.search.candidates import SLOT, Templates, candidates
from safetext_sdk.search.problem import Problem
from safetext_sdk.search.random_search import random_search

PROMPTS = ["A gun, with a flower", "a photo of a knife"]
BUDGET = {"words": 3, "steps": 6, "candidates": 12, "top": 16}
FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd1": minis.build_sd1,
    "sdxl": minis.build_sdxl,
    "sd3": minis.build_sd3,
    "flux": minis.build_flux,
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from safetext_sdk.models import load_model

    folder = FAMILIES[request.param](tmp_path_factory.mktemp("gcg") / request.param)
    original = load_model(folder, device="cpu")
    return original, shaken(original, encoder=next(iter(original.encoders)))


def objective(models: tuple[Any, Any], distance: Any = "flat") -> NearOriginal:
    usable = candidates(next(iter(models[1].tokenizers.values())))
    words = dict(zip(usable.ids.tolist(), usable.words, strict=True))
    forms = Templates(tuple(f"{SLOT} {SLOT} {SLOT} {prompt}" for prompt in PROMPTS), words)
    return NearOriginal(*models, PROMPTS, forms, (int(usable.ids[0]), int(usable.ids[-1])), distance)


def far(goal: NearOriginal, model: Any, texts: list[str], prompts: tuple[int, ...] = (0, 1)) -> torch.Tensor:
    """How far texts are from what the original reads of the prompts."""
    return goal.goal.far(model.encode(texts), model.tokenize(texts), torch.tensor(prompts))


@pytest.mark.parametrize("distance", ["flat", "position"])
def test_the_loss_is_that_of_the_text(models: tuple[Any, Any], distance: Any) -> None:
    """What is evaluated on ids is what the model reads of the text, in every encoder."""
    goal = objective(models, distance)
    index = torch.arange(2)
    texts = goal.rows.texts(goal.ids)
    want = far(goal, models[1], texts)
    assert torch.allclose(goal.loss(goal.ids, index), want, atol=1e-5)
    assert (want > 0).all()


def test_words_whose_embeddings_are_no_numbers_are_not_drawn(models: tuple[Any, Any]) -> None:
    """One such word in the table would make every gradient search draw nothing else, or find nothing."""
    hardened = models[1]
    name = next(iter(hardened.encoders))
    attack, where = GcgEncoder(**BUDGET), context(*models)
    every = attack.usable(where, ())
    table = hardened.encoders[name].get_input_embeddings().weight
    gone = int(every.ids[3])
    kept = table[gone].detach().clone()
    try:
        with torch.no_grad():
            table[gone] = torch.nan
        assert gone not in attack.usable(where, ()).ids.tolist()
        assert len(attack.usable(where, ()).ids) == len(every.ids) - 1
    finally:
        with torch.no_grad():
            table[gone] = kept


@pytest.mark.parametrize("search", ["gradient", "descent"])
def test_it_beats_random_search_of_equal_cost(models: tuple[Any, Any], search: Any) -> None:
    attack = GcgEncoder(search=search, **BUDGET)
    where = context(*models)
    results = list(attack.attack(PROMPTS, where))
    assert [r.texts for r in results] == [r.texts for r in attack.attack(PROMPTS, where)]
    goal = objective(models)
    usable = candidates(next(iter(models[1].tokenizers.values())))
    chance = random_search(
        goal,
        Problem(goal.ids, goal.free, usable.ids, seeds=(1, 2)),
        evaluations=max(r.forward_passes for r in results),
    )
    reached = [float(r.notes["distance"]) for r in results if r.notes]
    assert sum(reached) < float(chance.losses.sum()) + 1e-3
    for i, (result, start) in enumerate(zip(results, chance.start, strict=True)):
        (text,) = result.texts
        assert text.endswith(result.prompt)
        assert result.notes is not None
        assert (
            float(result.notes["distance"]) <= min(float(start), float(result.notes["plain prompt"])) + 1e-4
        )
        true = far(goal, models[1], [text], (i,))
        assert float(result.notes["distance"]) == pytest.approx(float(true), abs=2e-4)
        assert result.queries + 1 == result.forward_passes <= 2 + 1 + 6 * (12 + 2)
        assert result.seconds > 0


def test_a_small_budget_is_smaller() -> None:
    small, paper = GcgEncoder.for_budget("small").config, GcgEncoder().config
    assert small.steps * small.candidates < paper.steps * paper.candidates / 100
