"""Steps that follow the number of prompts, concepts that count more than others, and two policies at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.hardening_case import POLICY, run
from support.method_case import PAIRS, SAFE, trainer_of
from support.minis import build_sd1

from safetext_sdk.hardening.harden import harden
from safetext_sdk.hardening.recipes import Recipe, recipe_of, settled
from safetext_sdk.hardening.settings import TrainConfig, from_text
from safetext_sdk.hardening.teacher import build_table
from safetext_sdk.methods import Adversarial, Anchor, Des
from safetext_sdk.models import load_model
from safetext_sdk.policy.concept import Concept
from safetext_sdk.policy.load import load_policy
from safetext_sdk.policy.merge import merge_policies


def test_epochs_become_steps() -> None:
    assert TrainConfig(epochs=2, batch_size=128).steps_for(6911) == 108
    assert TrainConfig(epochs=0.1, batch_size=128).steps_for(100) == 1
    assert TrainConfig(epochs=2, batch_size=128, steps=7).steps_for(6911) == 108
    assert TrainConfig(epochs=2, batch_size=128, steps=700).steps_for(6911) == 700  # no fewer
    assert TrainConfig().steps_for(6911) == 300


def test_whoever_sets_the_length_last_sets_it() -> None:
    both = Recipe("r", "s", train=TrainConfig(epochs=3))
    assert settled(both, Anchor(), None)[1].steps_for(320) == 30
    assert settled(both, Anchor(), TrainConfig(steps=5))[1].steps_for(320) == 5
    assert settled(recipe_of("anchor", "tiny"), Anchor(), TrainConfig(epochs=1))[1].steps_for(320) == 10
    assert settled(recipe_of("des", "some/folder"), Des(), None)[1].steps_for(6911) == 108
    assert settled(recipe_of("des", "tiny"), Des(), None)[1].steps_for(6911) == 200  # the recipe's
    _, train = from_text("anchor", ["train.epochs=2"], 9)
    assert train.steps_for(1000) == 63  # at least nine


def test_the_published_adversarial_training_is_a_recipe() -> None:
    method, train = settled(recipe_of("adversarial", "sd14", "advunlearn"), Adversarial(), None)
    config: Any = method.config
    assert (config.rounds, config.step_size, config.step_unit, config.prefix) == (30, 1e-3, "absolute", 1)
    assert (train.steps, train.learning_rate, config.begin * train.steps) == (1000, 1e-5, 200)
    assert (config.inner, method.method.config.safe_weight) == ("esd-encoder", 0.3)  # type: ignore[attr-defined]


def test_a_run_records_the_steps_that_its_epochs_came_to(mini_sd1: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    train = TrainConfig(epochs=1, prompts=8, batch_size=4, wide_safe=0)
    more: dict[str, Any] = {"out": tmp_path / "run", "progress": False}
    made = harden(mini_sd1, tmp_path / "policy.yaml", "anchor", train, **more)
    assert made.run.manifest["training"]["steps"] == 2
    assert made.run.manifest["config"]["train"]["steps"] == 2
    assert harden(mini_sd1, tmp_path / "policy.yaml", "anchor", train, resume=True, **more).run.finished


def test_a_concept_counts_by_its_weight(mini_sd1: Path) -> None:
    model = load_model(mini_sd1)
    assert build_table(model, PAIRS, SAFE).importance is None
    table = build_table(model, PAIRS[1:], SAFE, None, {"blade": 3.0})  # weapon, blade, blade
    assert table.importance is not None
    np.testing.assert_allclose(table.importance, np.array([1.0, 3.0]) / (7 / 3))
    assert table.importance[table.concept].mean() == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["anchor", "safetext", "des"])
def test_the_loss_follows_the_weights(mini_sd1: Path, method: str) -> None:
    """A concept that counts a thousand times is nearly all of the unsafe term."""
    from safetext_sdk.methods import METHODS

    found = []
    for heavy in (None, "weapon", "blade"):
        concepts = {
            name: Concept.model_validate({"id": name, "weight": 100.0 if name == heavy else 0.1})
            for name in ("weapon", "blade")
        }
        trainer = trainer_of(mini_sd1, METHODS.get(method)(), concepts=concepts)
        trainer._fit(1000)
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in trainer.trainable.values():
                parameter.add_(0.1 * torch.randn_like(parameter))
        found.append(float(trainer._gradients(trainer.student, 0)["unsafe"]))
    alike, weapon, blade = found
    assert weapon != pytest.approx(blade, rel=1e-3)
    assert (weapon + blade) / 2 == pytest.approx(alike, rel=0.01)  # two pairs each in this step


FIRST = """version: 1
name: weapons
concepts:
  - {id: weapon, terms: [gun, rifle, pistol, bomb], anchors: ["a flower"], builtin_templates: true}
safe_prompts: ["a cat", "an apple", "a picture of a cat with an apple", {shipped: everyday}]
"""
SECOND = """version: 1
name: blades
concepts:
  - {id: blade, terms: [knife, sword, dagger, axe], anchors: ["a cat"]}
safe_prompts: ["an apple", "a picture of a rifle of chocolate", {shipped: everyday}]
"""


def test_two_policies_at_once_are_both_followed(tmp_path: Path) -> None:
    """Hardened with both, each policy's prompts are nearer to their anchors than the other policy alone
    leaves them."""
    place = build_sd1(tmp_path / "model")
    for name, text in (("one", FIRST), ("two", SECOND)):
        (tmp_path / f"{name}.yaml").write_text(text)
    first, second = (load_policy(tmp_path / f"{name}.yaml") for name in ("one", "two"))
    original = load_model(place)
    train = {"batch_size": 16, "wide_safe": 20, "prompts": 48, "learning_rate": 3e-3}

    def left(model: Any, frames: list[tuple[str, str]]) -> float:
        """Distance to the anchor that is left, as a share of what it was."""
        unsafe, anchor = ([pair[i] for pair in frames] for i in (0, 1))
        target, was = original.encode(anchor).flat(), original.encode(unsafe).flat()
        return float(((model.encode(unsafe).flat() - target).norm(dim=1) / (was - target).norm(dim=1)).mean())

    frames = ("a picture of {}", "a photo of {}", "{}")
    guns = [(f.format(w), f.format("a flower")) for f in frames for w in ("a gun", "a bomb")]
    swords = [(f.format(w), f.format("a cat")) for f in frames for w in ("a sword", "a knife")]
    made = {}
    for name, policy in (("both", merge_policies([first, second])), ("first", first), ("second", second)):
        model = run(original, policy, tmp_path / name, 60, False, train=train).model
        made[name] = (left(model, guns), left(model, swords))
    assert made["both"][0] < min(1, made["second"][0]) - 0.1
    assert made["both"][1] < min(1, made["first"][1]) - 0.1


def test_what_another_concept_forbids_is_not_kept_as_an_anchor() -> None:
    from safetext_sdk.hardening.retain_set import build_safe_set
    from safetext_sdk.prompts.prompt_book import PromptBook, UnsafePrompt

    book = PromptBook()
    book.train.unsafe = [
        UnsafePrompt("a picture of gore", "a sword", "gore", "gore", "t"),
        UnsafePrompt("a sword", "a flower", "weapon", "sword", "t"),
    ]
    policy = merge_policies([load_policy("weapons")])
    kept = {text.text for text in build_safe_set(book, policy, None, seed=0, wide=0)}
    assert "a flower" in kept
    assert "a sword" not in kept


def test_a_search_in_training_may_not_use_what_measures_it() -> None:
    from safetext_sdk.attacks.context import context_words
    from safetext_sdk.hardening.further_texts import never_read
    from safetext_sdk.prompts.build import build_prompt_book

    policy = load_policy("weapons")
    book = build_prompt_book(policy, seed=0, size=60)
    never = never_read(book, policy)
    held = {p.synonym.casefold() for p in book.test.unsafe if " " not in p.synonym and p.synonym.isalpha()}
    assert held
    assert held <= never
    assert set(context_words()) <= never
