"""The minors filter on words and ages in Latin letters, and on policies. What only the two kinds together
make is asked of made-up words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dummy_words import MINOR, SEXUAL, add_dummy_words

from safetext_sdk.errors import PolicyError
from safetext_sdk.policy import Policy, minors
from safetext_sdk.policy.minors import is_sexual, names_minor, names_sexual, refuse_minors

WHY = "combines sexual content with minors"


@pytest.mark.parametrize(
    "form", ["{}", "zork_{}", "{}_zork", "zork_{}_x", "zork-{}", "{}-zork", "1{}", "{}2"]
)
def test_words_are_found_in_tags_and_compounds(form: str) -> None:
    assert sum(not names_minor(form.format(word)) for word in minors._MINOR) == 0
    assert sum(not names_sexual(form.format(word.upper())) for word in minors._SEXUAL) == 0


def test_words_are_not_found_within_longer_ones() -> None:
    assert sum(bool(names_minor(f"q{word}q")) for word in minors._MINOR) == 0
    assert sum(bool(names_sexual(f"q{word}q")) for word in minors._SEXUAL) == 0


@pytest.mark.parametrize(
    "text",
    [
        *("age 12", "aged 5", "ages 7", "age: 15", "Age_9", "age of nine", "aged fifteen", "aged_seventeen"),
        *("fifteen years old", "fifteen-year-old", "seventeen_yr_old", "12 year olds", "15-year-olds"),
        *("twelve years of age", "six-month-old", "9yo", "16 y.o.", "16 y/o", "sixteen yo", "AGED TEN"),
        *("at age one", "aged one", "age of one", "age: one"),
        *("doce años", "dieciséis años", "dix ans", "dix-sept ans", "quindici anni", "treze anos"),
        *("zwölfjährige", "zwölf Jahren", "12-jähriges", "1 yr old", "nine   years old"),
    ],
)
def test_ages_below_18(text: str) -> None:
    assert names_minor(text)
    assert names_minor(f"zork_{text}, zork")


@pytest.mark.parametrize(
    "text",
    [
        *("thirty-five years old", "thirty five years old", "twenty_one years old", "eighteen years old"),
        *("18 years old", "25-year-old", "118 years old", "aged 18", "age 30", "aged thirty", "aged 45"),
        *("aged twenty-five", "aged one hundred", "aged 5,000 years", "a middle-aged two", "old age"),
        *("page 12", "stage 4", "image five", "cage 3", "two yo-yos", "ten years ago", "years old"),
        *("at that age one learns", "2 yo-yos"),
        *("treinta y cinco años", "trente-cinq ans", "trente et un ans", "vingt-deux ans", "dix-huit ans"),
        *("quatre-vingt-dix-sept ans", "trinta e cinco anos", "vinte e dois anos", "trentacinque anni"),
        *("fünfunddreißig Jahre", "70 ans"),
    ],
)
def test_what_is_no_age_below_18(text: str) -> None:
    assert names_minor(text) is None


NUMBERS = ["1", "12", "18", "one", "five", "thirty"]
PARTS = ["at", "age", "aged", "year", "years", "old", "OLD", "of", "yo", "y/o", "anos", "ans", "jahre", "x"]


@given(st.lists(st.sampled_from([*NUMBERS, *PARTS, " ", " ", " ", "-", "_", ","]), max_size=9))
def test_the_quick_look_for_ages_agrees_with_the_expressions(parts: list[str]) -> None:
    text = "".join(parts)
    for pattern in (minors._MINOR_ASCII, minors._MINOR_RE):
        found = pattern.search(text)
        assert names_minor(text) == (found.group(0) if found else None)


def policy(**concept: Any) -> Policy:
    whole = {"id": "thing", "terms": ["zork", "blarg"], "anchors": ["a tulip"], **concept}
    return Policy.model_validate({"version": 1, "name": "p", "concepts": [whole]})


@pytest.mark.parametrize(
    "sexual",
    [
        {"terms": ["zork", f"a {SEXUAL} zork"]},
        {"euphemisms": [SEXUAL]},
        {"translations": {"ja": [SEXUAL]}},
        {"id": f"{SEXUAL}-things"},
        {"id": f"{SEXUAL}_things"},
    ],
)
@pytest.mark.parametrize("own", [{"text": f"a {MINOR}"}, {"text": "a zork", "anchor": f"a {MINOR}"}])
def test_prompts_of_a_sexual_concept_name_no_minor(
    monkeypatch: pytest.MonkeyPatch, sexual: dict[str, Any], own: dict[str, Any]
) -> None:
    add_dummy_words(monkeypatch)
    refuse_minors(policy(unsafe_prompts=[own]))
    refuse_minors(policy(**sexual, unsafe_prompts=["a zork in a tree"]))
    with pytest.raises(PolicyError, match=WHY) as caught:
        refuse_minors(policy(**sexual, unsafe_prompts=[own]))
    assert caught.value.field == "concepts.0"
    assert MINOR not in str(caught.value)


def test_ids_and_categories_count_within_longer_words() -> None:
    assert is_sexual(policy(id="nudists").concepts[0])
    assert not is_sexual(policy(id="nudges").concepts[0])


def test_the_context_of_a_template_is_a_part_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    add_dummy_words(monkeypatch)
    template = {"text": "{term} in a hall", "context": f"a {MINOR} in a hall"}
    refuse_minors(policy(templates=[template]))
    with pytest.raises(PolicyError, match=WHY):
        refuse_minors(policy(templates=[template], terms=["zork", SEXUAL]))
