"""Attacks: deterministic, one text a prompt, and each does what it says."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from safetext_sdk.attacks import ATTACKS, Context
from safetext_sdk.attacks.random_suffix import search, vocabulary
from safetext_sdk.attacks.typos import LOOK_ALIKE, disguise, misspell

PROMPTS = ["a gun on a table", "two knives beside an apple", "a war axe", "ein Messer"]


def context(**extra: Any) -> Context:
    policy = SimpleNamespace(concepts=[SimpleNamespace(terms=["gun", "knife", "war axe"])])
    return Context(extra.pop("original", None), extra.pop("hardened", None), policy, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["typos", "paraphrase"])
def test_black_box_attacks_are_deterministic_and_change_every_prompt(name: str) -> None:
    attack = ATTACKS.get(name)
    first = attack(PROMPTS, context())
    assert first == attack(PROMPTS, context())
    assert (
        attack(PROMPTS[::-1], context())[::-1] == first
    )  # a prompt's text does not depend on its neighbours
    assert len(first) == len(PROMPTS)
    assert all(a != b for a, b in zip(first, PROMPTS, strict=True))
    assert attack(PROMPTS * 5, context(seed=1)) != attack(PROMPTS * 5, context())


def test_typos_hide_the_terms_and_leave_the_rest() -> None:
    for seed in range(40):
        got = disguise("a gun on a table", ["gun", "knife"], random.Random(seed))
        assert got.startswith("a g")
        assert got.endswith(" on a table")
        assert "gun " not in got
    assert disguise("", ["gun"], random.Random(0)) == ""
    assert disguise("a cat", [], random.Random(0)) != "a cat"


def test_misspell_makes_one_change() -> None:
    seen = set()
    for seed in range(60):
        word = misspell("rifle", random.Random(seed))
        assert word != "rifle"
        assert word[0] == "r"
        assert abs(len(word) - 5) <= 1
        seen.add("look-alike" if set(word) & set(LOOK_ALIKE.values()) else len(word) - 5)
    assert seen == {"look-alike", -1, 0, 1}
    assert misspell("at", random.Random(0)) == "at"


def test_paraphrase_keeps_the_prompt() -> None:
    assert all(
        p in text for p, text in zip(PROMPTS, ATTACKS.get("paraphrase")(PROMPTS, context()), strict=True)
    )


@pytest.fixture(scope="module")
def models(mini_sd1: Path) -> tuple[Any, Any]:
    from safetext_sdk.models import load_model

    original = load_model(mini_sd1, device="cpu")
    encoder = copy.deepcopy(original.encoders["text_encoder"])
    torch.manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return original, original.with_encoders({"text_encoder": encoder})


def test_random_suffix_comes_nearer_to_the_old_meaning(models: tuple[Any, Any]) -> None:
    original, hardened = models
    here = context(original=original, hardened=hardened, queries=48)

    def near(text: str, prompt: str) -> float:
        return float(
            torch.cosine_similarity(hardened.encode([text]).flat(), original.encode([prompt]).flat())
        )

    texts = ATTACKS.get("random_suffix")(PROMPTS[:2], here)
    assert texts == ATTACKS.get("random_suffix")(PROMPTS[:2], here)
    for prompt, text in zip(PROMPTS, texts, strict=False):
        assert text.startswith(prompt)
        assert near(text, prompt) >= near(prompt, prompt)
    assert any(near(t, p) > near(p, p) for p, t in zip(PROMPTS, texts, strict=False))


def test_more_queries_never_find_less(models: tuple[Any, Any]) -> None:
    original, hardened = models
    words = vocabulary(original.tokenizers["text_encoder"])
    assert {"gun", "flower"} <= set(words)
    scores = []
    for queries in (0, 16, 64):
        here = context(original=original, hardened=hardened, queries=queries)
        text = search("a gun", words, here, random.Random(1))
        scores.append(
            float(torch.cosine_similarity(hardened.encode([text]).flat(), original.encode(["a gun"]).flat()))
        )
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_listing_attacks_imports_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from safetext_sdk.attacks import ATTACKS; from safetext_sdk.detectors import DETECTORS; "
        "ATTACKS.entries(); DETECTORS.entries(); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )
