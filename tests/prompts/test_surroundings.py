"""Surroundings are the same for all texts of a row, and made of nothing but what was handed in."""

from __future__ import annotations

import random

import pytest

from safetext_sdk.policy.minors import names_minor, names_sexual
from safetext_sdk.prompts.surroundings import (
    Surrounder,
    Surroundings,
    shipped_requests,
    shipped_styles,
    surrounded,
)

FULL = Surrounder(["A red bus.", "two cats"], ["one", "two"], ["please draw"], ["fog", "oil painting"])


def anything(text: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("please draw", "", "please draw a cat."),
        ("", ", fog", "a cat, fog"),
        ("", ". two cats", "a cat. two cats"),
        ("one two", "three", "one two a cat. three"),
    ],
)
def test_a_tail_of_its_own_sentence_takes_the_place_of_the_end(before: str, after: str, found: str) -> None:
    assert Surroundings(before, after).around("a cat.") == found


def test_all_texts_of_a_row_get_the_same_surroundings() -> None:
    rows = [("UNSAFE", "SAFE"), ("OTHER", "MILD")]
    found = surrounded(rows, FULL, 100, allowed=anything, seed=0)
    assert found[:30] == surrounded(rows, FULL, 30, allowed=anything, seed=0)
    assert found != surrounded(rows, FULL, 100, allowed=anything, seed=1)
    assert len({one.texts[0] for one in found}) == len(found) > 50
    assert abs(sum(one.row for one in found) - len(found) / 2) <= 10  # each row as often as the other
    for one in found:
        bare, anchor = rows[one.row]
        assert one.texts[0] != bare
        assert one.texts[0].replace(bare, anchor) == one.texts[1]


def test_every_kind_is_drawn_and_missing_material_is_not_missed() -> None:
    rng = random.Random(0)
    texts = {FULL.draw(rng).around("X") for _ in range(300)}
    for part in (
        "please draw X",
        "X, fog",
        "fog, X",
        "two X",
        "X one",
        "A red bus. X",
        "two cats and X and ",
    ):
        assert any(part in text for text in texts), part
    words = Surrounder([], ["one"], [], [])
    assert all(set(words.draw(rng).around("X").split()) == {"X", "one"} for _ in range(50))
    with pytest.raises(ValueError, match="nothing to make"):
        Surrounder([], [], [], []).draw(rng)


def test_what_is_refused_is_not_written() -> None:
    found = surrounded([("X",)], FULL, 60, allowed=lambda text: "fog" not in text, seed=0)
    assert found
    assert not any("fog" in one.texts[0] for one in found)
    assert surrounded([("X",)], FULL, 5, allowed=lambda text: False, seed=0) == []
    assert surrounded([], FULL, 5, allowed=anything, seed=0) == []


def test_shipped_ones_name_nobody_and_nothing_unsafe() -> None:
    texts = [*shipped_requests(), *shipped_styles()]
    assert len(set(texts)) == len(texts) > 80
    assert [text for text in texts if names_minor(text) or names_sexual(text)] == []
