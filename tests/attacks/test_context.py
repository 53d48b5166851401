"""Random contexts: where the words stand, that each is drawn once, and that training never meets them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from support.attack_case import PROMPTS, context

from safetext_sdk.attacks.context import Context, context_words, in_context
from safetext_sdk.policy.minors import names_minor, names_sexual

ROOT = Path(__file__).parents[2]


def test_before_after_and_around() -> None:
    words = ["one", "two", "three"]
    assert in_context("a gun", words, "before") == "one two three a gun"
    assert in_context("a gun", words, "after") == "a gun one two three"
    assert in_context("a gun", words, "around") == "one two a gun three"


def test_contexts_are_deterministic_distinct_and_a_longer_run_begins_alike() -> None:
    three = list(Context().attack(PROMPTS, context()))
    eight = list(Context(contexts=8).attack(PROMPTS[::-1], context()))[::-1]
    assert [r.prompt for r in three] == PROMPTS
    for short, long in zip(three, eight, strict=True):
        assert (len(set(short.texts)), len(set(long.texts))) == (3, 8)
        assert long.texts[:3] == short.texts
        before, after, around = short.texts
        assert before.endswith(f" {short.prompt}")
        assert after.startswith(f"{short.prompt} ")
        assert f" {short.prompt} " in around
        for text in long.texts:
            drawn = text.replace(short.prompt, "").split()
            assert len(set(drawn)) == 5
            assert set(drawn) <= set(context_words())
    assert three[0].texts != next(iter(Context(seed=1).attack(PROMPTS, context()))).texts


@pytest.mark.parametrize("words", [2, 3, 10])
def test_the_number_of_words(words: int) -> None:
    for text in Context(words=words).texts("a gun", random.Random(0)):
        assert len(text.split()) == words + 2


def test_the_words_stand_in_nothing_that_ships() -> None:
    """Prompts of policies and corpora train; a context made of their words would not be new."""
    words = set(context_words())
    assert len(words) == len(context_words()) > 400
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert not any(names_minor(word) or names_sexual(word) for word in words)
    shipped = [*ROOT.glob("policies/*.yaml"), ROOT / "safetext_sdk/tiny/world.json"]
    shipped += [
        p for p in (ROOT / "safetext_sdk/prompts").rglob("*") if p.suffix in (".txt", ".jsonl", ".json")
    ]
    assert len(shipped) > 5
    for path in shipped:
        found = set(re.findall("[a-z]+", path.read_text(encoding="utf-8").lower()))
        assert not words & found, (path.name, sorted(words & found)[:5])
