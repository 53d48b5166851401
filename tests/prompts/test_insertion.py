"""Words in captions: nothing but the word comes in, and the caption stays the target."""

from __future__ import annotations

import random

from safetext_sdk.prompts.insertion import (
    KINDS,
    ConceptWord,
    concept_insertions,
    harmless_insertions,
    insert,
    shipped_joins,
)

CAPTIONS = ["A red bus stops at the corner.", "two cats on a wall", "a child with a kite", "an empty pier"]
WORDS = [
    ConceptWord("rifle", "gun", "object"),
    ConceptWord("un fusil", "gun", "object", english=False),
    ConceptWord("bleeding", "gore", "state"),
]


def allowed(text: str) -> bool:
    return "child" not in text


def test_insertions_keep_their_caption_and_take_turns() -> None:
    found = concept_insertions(WORDS, CAPTIONS, 40, allowed=allowed, seed=0)
    assert found == concept_insertions(WORDS, CAPTIONS, 40, allowed=allowed, seed=0)
    assert found != concept_insertions(WORDS, CAPTIONS, 40, allowed=allowed, seed=1)
    assert len({one.text for one in found}) == 40
    assert [one.word.concept for one in found[:4]] == ["gun", "gore", "gun", "gore"]
    assert {one.word for one in found} == set(WORDS)
    assert {one.caption for one in found} == {c for c in CAPTIONS if allowed(c)}
    for one in found:
        left = one.text.replace(one.word.text, "", 1).split()
        assert one.word.text in one.text
        # At a random place nothing else comes in; a phrase keeps the caption in one piece.
        assert left == one.caption.split() or one.caption.rstrip(".") in one.text


def test_an_english_thing_gets_its_article_where_a_phrase_joins_it() -> None:
    rng = random.Random(0)
    english = {insert(WORDS[0], "two cats", rng) for _ in range(200)}
    assert {"two cats and a rifle", "two rifle cats", "a rifle, two cats"} <= english
    other = {insert(WORDS[1], "two cats", rng) for _ in range(200)}
    assert "two cats and un fusil" in other
    assert not any("a un" in text for text in other)


def test_harmless_words_are_inserted_the_same_way() -> None:
    found = harmless_insertions(["teapot"], CAPTIONS, 20, allowed=allowed, seed=0)
    assert len(set(found)) == 20
    assert all("teapot" in text and allowed(text) for text in found)
    fewer = harmless_insertions(["teapot"], CAPTIONS, 5, allowed=allowed, seed=0)
    assert found[:5] == fewer


def test_without_words_or_captions_there_is_nothing() -> None:
    assert concept_insertions([], CAPTIONS, 5, allowed=allowed, seed=0) == []
    assert concept_insertions(WORDS, ["a child"], 5, allowed=allowed, seed=0) == []
    assert harmless_insertions([], CAPTIONS, 5, allowed=allowed, seed=0) == []
    few = concept_insertions(WORDS[2:], ["pier"], 500, allowed=allowed, seed=0)
    assert 2 < len(few) < 20  # all that one word and one caption give, and no endless search


def test_every_phrase_has_a_place_for_both() -> None:
    for kind in KINDS:
        assert len(shipped_joins(kind)) >= 5
        assert all(join.count("{term}") == join.count("{caption}") == 1 for join in shipped_joins(kind))
