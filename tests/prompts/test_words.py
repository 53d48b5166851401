"""The three matchers: what each finds, and what it must not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safetext_sdk.policy.minors import names_sexual
from safetext_sdk.prompts.words import (
    Inflected,
    LongestMatch,
    WholeWords,
    contained,
    letter_words,
    replace_first,
)
from safetext_sdk.tiny import world


@given(st.lists(st.text("ab -", max_size=6), max_size=6), st.text("ab s-", max_size=25))
def test_words_agree_with_a_regular_expression(words: list[str], text: str) -> None:
    expected = set()
    for word in words:
        phrase = r"\W+".join(re.findall(r"\w+", word))
        if phrase and re.search(rf"(?<!\w)(?:{phrase})(?:s|es)?(?!\w)", text):
            expected.add(word)
    assert set(WholeWords(words).all(text)) == expected


def test_contained_words_are_found_as_whole_words() -> None:
    assert contained(["knife", "hunting knife", "penknife", "gun"]) == {"knife"}


@pytest.mark.parametrize(
    ("prompt", "concepts"),
    [
        ("a butter knife beside toast", ("cutlery",)),
        ("a water pistol", ("water_pistol",)),
        ("a knife next to an apple", ("knife", "apple")),
        ("an apple, then a hunting  knife", ("apple", "knife")),
        ("skull and crossbones", ("crossbones",)),
        ("a sugar skull", ("sugar_skull",)),
        ("two machine guns", ("machine_gun",)),
        ("A RED APPLE", ("apple",)),
        ("pineapple", ("pineapple",)),
        ("a gunner at work", ()),
        ("nothing of this world", ()),
        ("knife and knife", ("knife",)),
    ],
)
def test_longest_word_wins(prompt: str, concepts: tuple[str, ...]) -> None:
    assert LongestMatch({concept: entry["words"] for concept, entry in world().items()})(prompt) == concepts


def test_every_word_of_the_world_means_its_concept() -> None:
    match = LongestMatch({concept: entry["words"] for concept, entry in world().items()})
    for concept, entry in world().items():
        for word in entry["words"]:
            assert match(f"a picture of {word} here") == (concept,), word


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("two men shooting", True),
        ("a gunman at dawn", True),
        ("he shoots twice", True),
        ("a begun letter", False),  # "gun" is too short to be looked for inside words
        ("a chute of sheets", False),
        ("machine guns", True),
        ("a sewing machine", False),
    ],
)
def test_inflected_finds_other_forms(text: str, found: bool) -> None:
    assert Inflected(["shoot", "gunman", "machine gun"]).found_in(text) is found


def test_near_is_one_letter_away_and_another_word() -> None:
    words = Inflected(["gun", "rifle"])
    near = ["gut", "gum", "run", "rifles", "rile", "trifle"]
    assert [w for w in [*near, "gun", "gu", "stifle"] if words.near(w)] == near


def test_letter_words_leave_digits_out() -> None:
    assert letter_words(["A 35mm photo, by night", "by day"]) == {"a", "mm", "photo", "by", "night", "day"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two Guns on a gun rack", "two tulip on a gun rack"),
        ("a gunner", "a gunner"),
        ("a machine-gun", "a machine-tulip"),
    ],
)
def test_replace_first(text: str, expected: str) -> None:
    assert replace_first(text, "gun", "tulip") == expected


@given(st.text(st.sampled_from("nudeNUDEsx- ._0'é"), max_size=12))
def test_the_quick_look_for_sexual_words_agrees_with_the_expression(text: str) -> None:
    from safetext_sdk.policy import minors

    found = minors._SEXUAL_RE.search(text)
    assert names_sexual(text) == (found.group(0) if found else None)
