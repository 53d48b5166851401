"""Random words: from which pieces they are made, what they may never be, and where they stand."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from safetext_sdk.prompts.random_words import SHORT, RandomWords, WordPieces


def tokenizer(*vocabulary: str) -> Any:
    return SimpleNamespace(get_vocab=lambda: {token: number for number, token in enumerate(vocabulary)})


CLIP = tokenizer("ba", "lo", "ru", "X", "1", "nd</w>", "stone</w>", "!</w>")
T5 = tokenizer("\u2581ba", "\u2581lo", "nd", "stone", "</s>")
QWEN = tokenizer("\u0120ba", "\u0120lo", "nd", "stone", "\u0120", "<|im_end|>")
BERT = tokenizer("[CLS]", "ba", "lo", "##nd", "##stone")


@pytest.mark.parametrize(
    ("kind", "first", "last", "alone"),
    [
        (CLIP, ["ba", "lo", "ru"], ["nd", "stone"], ["nd", "stone"]),
        (T5, ["ba", "lo"], ["nd", "stone"], ["ba", "lo"]),
        (QWEN, ["ba", "lo"], ["nd", "stone"], ["ba", "lo"]),
        (BERT, ["ba", "lo"], ["nd", "stone"], ["ba", "lo"]),
        (tokenizer("ba", "lo", "\u0120", "##nd", "##stone"), ["ba", "lo"], ["nd", "stone"], ["ba", "lo"]),
    ],
)
def test_pieces_of_every_kind_of_vocabulary(
    kind: Any, first: list[str], last: list[str], alone: list[str]
) -> None:
    pieces = WordPieces.of(kind)
    assert (pieces.first, pieces.last, pieces.alone) == (first, last, alone)


def test_made_up_words_begin_and_end_as_words_do() -> None:
    pieces, rng = WordPieces.of(CLIP), random.Random(0)
    made = {pieces.made_up(rng) for _ in range(200)}
    assert len(made) > 20
    for word in made:
        assert 3 <= len(word) <= 14
        assert word.startswith(("ba", "lo", "ru"))
        assert word.endswith(("nd", "stone"))
    assert {"stone"} < {pieces.made_up(rng, SHORT) for _ in range(200)}  # whole words too
    assert WordPieces([], [], [], []).made_up(rng) == ""


def words(**more: Any) -> RandomWords:
    given = {"known": ["apple"], "whole": ["harbour"], "risky": (), "allowed": lambda word: True}
    return RandomWords(pieces=WordPieces.of(CLIP), **{**given, **more})


def test_words_stand_before_after_around_and_inside() -> None:
    text, rng = "a gun on a table", random.Random(1)
    outside = [words().around(text, rng, inside=False) for _ in range(300)]
    assert all(text in made and made != text for made in outside)
    before = sum(made.endswith((text, text + ",")) for made in outside)
    after = sum(made.startswith(text) for made in outside)
    assert before > after > 40
    assert len(outside) - before - after > 20  # around
    assert max(len(made.split()) for made in outside) == len(text.split()) + 12
    inside = [words().around(text, rng, inside=True) for _ in range(300)]
    assert 20 < sum(text not in made for made in inside) < 80
    assert all(made.split()[0] == "a" for made in inside if text not in made)


def test_weights_say_where_words_stand() -> None:
    text, rng = "a gun on a table", random.Random(1)
    behind = [words(places=(1, 3, 0, 0)).around(text, rng, inside=True) for _ in range(300)]
    after = sum(made.startswith(text) for made in behind)
    assert 190 < after < 260
    assert after + sum(made.endswith((text, text + ",")) for made in behind) == len(behind)
    only = [words(places=(0, 1, 0, 5)).around(text, rng, inside=False) for _ in range(50)]
    assert all(made.startswith(text) for made in only)


def test_risky_words_are_among_the_others_now_and_then() -> None:
    rng = random.Random(2)
    some = [words(risky=["blade"]).some(rng, 8) for _ in range(400)]
    assert 0.15 < sum("blade" in made for made in some) / len(some) < 0.5
    assert not any("blade" in words().some(rng, 8) for _ in range(100))


def test_what_is_not_allowed_never_comes_and_without_material_nothing_does() -> None:
    rng = random.Random(3)
    made = [words(allowed=lambda word: word != "apple").some(rng, 8) for _ in range(200)]
    assert not any("apple" in some for some in made)
    none = RandomWords(WordPieces([], [], [], []), [], [], ["blade"], lambda word: True)
    assert none.some(rng, 5) == []
    assert none.around("a gun", rng, inside=False) == "a gun"
