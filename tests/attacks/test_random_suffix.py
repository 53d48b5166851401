"""The suffix search comes nearer to the old meaning, and more tries never find less."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.attack_case import PROMPTS, context, shaken

from safetext_sdk.attacks.random_suffix import RandomSuffix, RandomSuffixConfig, draw, search, vocabulary


@pytest.fixture(scope="module")
def models(mini_sd1: Path) -> tuple[Any, Any]:
    from safetext_sdk.models import load_model

    original = load_model(mini_sd1, device="cpu")
    return original, shaken(original)


def near(models: tuple[Any, Any], text: str, prompt: str) -> float:
    original, hardened = models
    return float(torch.cosine_similarity(hardened.encode([text]).flat(), original.encode([prompt]).flat()))


def test_random_suffix_comes_nearer_to_the_old_meaning(models: tuple[Any, Any]) -> None:
    where = context(*models)
    found = list(RandomSuffix(queries=48).attack(PROMPTS[:2], where))
    again = list(RandomSuffix(queries=48).attack(PROMPTS[:2], where))
    assert [r.texts for r in found] == [r.texts for r in again]
    for prompt, result in zip(PROMPTS, found, strict=False):
        (text,) = result.texts
        assert text.startswith(prompt)
        assert near(models, text, prompt) >= near(models, prompt, prompt)
        assert (result.queries, result.forward_passes) == (49, 50)
        assert result.seconds > 0
        assert result.notes == {"cosine": f"{near(models, text, prompt):.4f}"}
    assert any(near(models, r.texts[0], r.prompt) > near(models, r.prompt, r.prompt) for r in found)


def test_more_queries_never_find_less(models: tuple[Any, Any]) -> None:
    words = vocabulary(models[0].tokenizers["text_encoder"])
    assert {"gun", "flower"} <= set(words)
    scores = []
    for queries in (0, 16, 64):
        config = RandomSuffixConfig(queries=queries)
        text, score = search("a gun", words, context(*models), config, random.Random(1))
        assert score == pytest.approx(near(models, text, "a gun"), abs=1e-5)
        scores.append(score)
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_it_climbs_before_a_suffix_beats_the_plain_prompt() -> None:
    """Half of the tries change a word of the best suffix so far, however far that one is."""
    words = [f"word{chr(97 + k // 20)}{chr(97 + k % 20)}" for k in range(200)]
    asked: list[list[str]] = []

    def worth(text: str) -> float:
        return 0.99 if text == "a gun" else sum(words.index(w) for w in text.split()[2:]) / 1000

    def encode(texts: list[str]) -> Any:
        asked.append(texts)
        near = torch.tensor([worth(text) for text in texts])
        return SimpleNamespace(flat=lambda: torch.stack([near, (1 - near.square()).sqrt()], 1))

    original = SimpleNamespace(encode=lambda texts: SimpleNamespace(flat=lambda: torch.tensor([[1.0, 0.0]])))
    where, config = context(original, SimpleNamespace(encode=encode)), RandomSuffixConfig(queries=96)
    text, score = search("a gun", words, where, config, random.Random(1))
    assert (text, score) == ("a gun", pytest.approx(0.99))
    _, first, *others = asked
    best, changed = max(first, key=worth).split(), 0
    for texts in others:
        rows = [text.split() for text in texts]
        changed += sum(sum(a != b for a, b in zip(row, best, strict=True)) <= 1 for row in rows)
        best = max((" ".join(best), *texts), key=worth).split()
    assert 25 <= changed <= 55  # of 80


def test_a_word_that_the_encoder_cannot_read_hides_no_other(models: tuple[Any, Any]) -> None:
    """The hardened encoder answers NaN to every second suffix."""
    original, hardened = models
    words = vocabulary(original.tokenizers["text_encoder"])

    def encode(texts: list[str]) -> Any:
        read = hardened.encode(texts).flat().clone()
        read[[sum(map(ord, text)) % 2 == 1 and text != "a gun" for text in texts]] = torch.nan
        return SimpleNamespace(flat=lambda: read)

    where = context(original, SimpleNamespace(encode=encode))
    text, score = search("a gun", words, where, RandomSuffixConfig(queries=32), random.Random(1))
    assert text != "a gun"
    assert score == pytest.approx(near(models, text, "a gun"), abs=1e-5)


def test_words_of_every_kind_of_vocabulary() -> None:
    for kind in (("gun</w>", "ba"), ("\u2581gun", "ba"), ("\u0120gun", "ba"), ("gun", "##ba")):
        tokens = dict.fromkeys((*kind, "\u0120", "<s>", "it's"), 0)
        assert vocabulary(SimpleNamespace(get_vocab=lambda tokens=tokens: tokens)) == ["gun"]


def test_climbing_comes_nearer_than_fresh_draws_of_equal_cost(models: tuple[Any, Any]) -> None:
    climbs = RandomSuffix(queries=160)
    draws = climbs.baseline()
    assert draws is not None
    assert draws.baseline() is None
    where, sums = context(*models), []
    for attack in (climbs, draws):
        found = list(attack.attack(PROMPTS, where))
        assert {(r.queries, r.forward_passes) for r in found} == {(161, 162)}
        sums.append(sum(near(models, r.texts[0], r.prompt) for r in found))
    assert sums[0] > sums[1]


def test_no_word_for_a_minor_is_drawn() -> None:
    rng = random.Random(0)
    assert {draw(["boy", "tree", "girl", "lamp"], rng) for _ in range(60)} == {"tree", "lamp"}
