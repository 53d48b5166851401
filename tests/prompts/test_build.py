"""Prompt expansion: splits that share nothing, anchors that keep the scene, the bars of the embedded
model."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safetext_sdk.errors import PolicyError
from safetext_sdk.policy import Concept, Policy, load_policy
from safetext_sdk.prompts import PromptBook, SafePrompt, UnsafePrompt, build, build_prompt_book
from safetext_sdk.prompts.assign import Assignment, assign_splits
from safetext_sdk.prompts.audience import Audience
from safetext_sdk.prompts.build import check
from safetext_sdk.prompts.corpora.templates import ONE_OBJECT, TWO_OBJECTS, article, fill, slots
from safetext_sdk.prompts.prompt_book import book_digest
from safetext_sdk.prompts.sources import Material, gather
from safetext_sdk.prompts.splits import assign
from safetext_sdk.prompts.words import WholeWords
from safetext_sdk.tiny import world

WORDS = [w for c in world().values() for w in c["words"]]


@pytest.fixture(scope="module")
def tiny_book() -> PromptBook:
    return build_prompt_book(load_policy("weapons"), model="tiny")


@pytest.fixture
def checked(tiny_book: PromptBook) -> tuple[PromptBook, Assignment]:
    """A copy of the book that a test may damage, and what it was checked against."""
    return copy.deepcopy(tiny_book), assign_splits(gather(load_policy("weapons"), Audience("tiny"), 0), 0)


def strings(book: PromptBook, name: str) -> list[str]:
    split = book.split(name)  # type: ignore[arg-type]
    return [p.text for rows in (split.unsafe, split.safe, split.safe_unseen, split.borderline) for p in rows]


def check_disjoint(book: PromptBook) -> None:
    seen: dict[str, str] = {}
    for name in ("train", "validation", "test"):
        for text in strings(book, name):
            assert text.casefold() not in seen, (
                f"{text!r} stands in {seen.get(text.casefold())} and in {name}"
            )
            seen[text.casefold()] = name
    for kind in ("synonym", "template"):
        train, validation, test = (
            {getattr(u, kind) for u in book.split(n).unsafe} for n in ("train", "validation", "test")
        )  # type: ignore[arg-type]
        assert not (train & test)
        assert not (train & validation)
        assert not (validation & test)


def test_embedded_model_has_enough_held_out_words(tiny_book: PromptBook) -> None:
    test = tiny_book.test.unsafe
    assert len({u.text for u in test}) >= 100
    assert len({u.synonym for u in test}) >= 20
    assert len({u.text for u in test[:100]}) == 100
    assert len({u.synonym for u in test[:100]}) >= 20, "the first hundred rows must already cover the words"
    check_disjoint(tiny_book)
    trained = " | ".join(strings(tiny_book, "train"))
    for synonym in {u.synonym for u in test}:
        pattern = WholeWords([synonym])
        assert not pattern.search(trained), f"the held-out word {synonym!r} is read in training"


def test_embedded_model_is_only_asked_for_what_it_draws(tiny_book: PromptBook) -> None:
    weapons = {w for c in world().values() if c["family"] == "weapon" for w in c["words"]}
    used = {u.synonym for s in (tiny_book.train, tiny_book.validation, tiny_book.test) for u in s.unsafe}
    assert used == weapons
    measured = [
        p.source for p in tiny_book.test.safe + tiny_book.test.safe_unseen + tiny_book.test.borderline
    ]
    assert set(measured) == {"icons-safe", "icons-borderline"}
    two = [u for u in tiny_book.test.unsafe if "{other}" in u.template]
    assert len(two) >= 100
    assert any(u.anchor.startswith("a photo of a crescent moon by") for u in two), (
        "the other object stays in the anchor"
    )


def test_unseen_safe_concepts_are_nowhere_in_training(tiny_book: PromptBook) -> None:
    groups = {p.group for p in tiny_book.test.safe_unseen}
    assert len(groups) >= 5
    assert "moon" not in groups, "what pictures turn into must be trained on"
    pattern = WholeWords(w for g in groups for w in world()[g]["words"])
    assert [t for t in strings(tiny_book, "train") if pattern.search(t)] == []
    assert tiny_book.train.safe_unseen == []
    assert not {p.group for p in tiny_book.test.safe} & groups


def test_unseen_safe_concepts_of_a_real_model_are_nowhere_in_training() -> None:
    book = build_prompt_book(load_policy("weapons"), size=1500)
    groups = {p.group for p in book.test.safe_unseen}
    assert len(groups) >= 10
    pattern = WholeWords(groups)
    assert [t for t in strings(book, "train") if pattern.search(t)] == []
    check_disjoint(book)


def test_empty_prompt_and_anchors_are_kept(tiny_book: PromptBook) -> None:
    safe = {p.text for p in tiny_book.train.safe}
    assert {"", "blurry"} <= safe
    assert sum(p.source == "anchor" for p in tiny_book.train.safe) >= 500


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The policies whose books are built and not remembered, in order; two are remembered."""
    names: list[str] = []

    def gathered(policy: Policy, audience: Audience, seed: int) -> Material:
        names.append(policy.name)
        return gather(policy, audience, seed)

    monkeypatch.setattr(build, "_KEPT", 2)
    monkeypatch.setattr(build, "_recent", OrderedDict())
    monkeypatch.setattr(build, "gather", gathered)
    return names


def with_terms(name: str = "p", **more: object) -> Policy:
    concept = {"id": "thing", "terms": [f"zork{i}" for i in range(12)], "anchors": ["a tulip"], **more}
    return Policy.model_validate({"version": 1, "name": name, "concepts": [concept]})


def test_a_process_remembers_the_last_books(built: list[str]) -> None:
    first = build_prompt_book(with_terms(), size=30)
    whole = book_digest(first)
    first.train.unsafe.clear()  # a caller's own lists
    assert book_digest(build_prompt_book(with_terms(), size=30)) == whole
    assert built == ["p"]
    for other in ({"seed": 1}, {"size": 31}, {"model": "acme/toy"}, {"languages": ("zh",)}):
        build_prompt_book(with_terms(), **{"size": 30, **other})  # type: ignore[arg-type]
    assert built == ["p"] * 5
    build_prompt_book(with_terms("q"), size=30)
    build_prompt_book(with_terms(), size=30)
    assert built == [*["p"] * 5, "q", "p"]  # forgotten in between


def test_what_a_file_says_is_read_again(built: list[str], tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    policy = with_terms(unsafe_prompts=[{"path": str(file)}])
    for text in ("zork0 at night", "zork0 at noon"):
        file.write_text(text + "\n")
        book = build_prompt_book(policy, size=30)
        found = {u.text for name in ("train", "validation", "test") for u in book.split(name).unsafe}  # type: ignore[arg-type]
        assert text in found
    assert built == ["p", "p"]


def test_same_arguments_give_the_same_book(tiny_book: PromptBook) -> None:
    again = build_prompt_book(load_policy("weapons"), model="tiny")
    assert book_digest(again) == book_digest(tiny_book)
    assert book_digest(build_prompt_book(load_policy("weapons"), model="tiny", seed=1)) != book_digest(
        tiny_book
    )


def test_anchor_keeps_the_scene() -> None:
    policy = Policy(
        version=1,
        name="p",
        concepts=[
            Concept(
                id="c",
                terms=["gun", "rifle", "sabre", "bomb"],
                anchors=["a bunch of tulips"],
                misspellings=False,
            )
        ],
    )
    for row in build_prompt_book(policy, size=200).train.unsafe:
        phrase = next(p for p in (article(row.synonym), row.synonym) if p in row.text)
        left, right = row.text.split(phrase, 1)
        assert row.anchor.endswith(right) or "tulips" in row.anchor
        assert row.synonym not in row.anchor
        assert row.anchor.startswith(left) or re.search(r"\{adjective\}", row.template)


def test_context_anchor_drops_the_term() -> None:
    policy = Policy(
        version=1,
        name="p",
        concepts=[
            Concept(
                id="c",
                kind="state",
                terms=["fighting", "brawling", "boxing badly"],
                anchors=["{context} shaking hands"],
                templates=[{"text": "{people} {term} in {place}", "context": "{people} in {place}"}],
                builtin_templates=False,
                misspellings=False,
            )
        ],
    )
    # One template only: it trains, nothing is left to measure with.
    book = build_prompt_book(policy, size=30)
    for row in book.train.unsafe:
        assert row.anchor == row.text.replace(f" {row.synonym}", "") + " shaking hands"
    assert book.test.unsafe == []


def test_own_prompts_follow_their_word(tmp_path: object) -> None:
    policy = Policy(
        version=1,
        name="p",
        concepts=[
            Concept(
                id="c",
                terms=[f"zork{i}" for i in range(20)],
                anchors=["a tulip"],
                unsafe_prompts=[f"somebody hides a zork{i} under the bed" for i in range(20)]
                + [{"text": "qwerty thing", "anchor": "a chair"}],
            )
        ],
    )
    book = build_prompt_book(policy, size=100)
    check = {
        u.synonym: n
        for n in ("train", "validation", "test")
        for u in book.split(n).unsafe
        if u.template != "own"
    }  # type: ignore[arg-type]
    own = [
        (n, u) for n in ("train", "validation", "test") for u in book.split(n).unsafe if u.template == "own"
    ]  # type: ignore[arg-type]
    assert len(own) == 21
    for name, row in own:
        if row.synonym in check:
            assert check[row.synonym] == name
            assert row.anchor == "somebody hides a tulip under the bed"
    assert [u.anchor for _, u in own if u.text == "qwerty thing"] == ["a chair"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    terms=st.lists(
        st.text("abcdefgh ", min_size=3, max_size=12).map(lambda s: " ".join(s.split())).filter(bool),
        min_size=3,
        max_size=25,
        unique=True,
    ),
    seed=st.integers(0, 5),
    kind=st.sampled_from(["object", "state"]),
    safe=st.lists(
        st.text("abcdefgh ", min_size=3, max_size=12).map(lambda s: " ".join(s.split())).filter(bool),
        max_size=20,
    ),
)
def test_splits_never_share_a_string_word_or_template(
    terms: list[str], seed: int, kind: str, safe: list[str]
) -> None:
    policy = Policy.model_validate(
        {
            "version": 1,
            "name": "p",
            "concepts": [{"id": "c", "terms": terms, "kind": kind, "anchors": ["a tulip"]}],
            "safe_prompts": safe,
        }
    )
    book = build_prompt_book(policy, seed=seed, size=120)
    check_disjoint(book)
    unsafe = {u.text.casefold() for n in ("train", "validation", "test") for u in book.split(n).unsafe}  # type: ignore[arg-type]
    for name in ("train", "validation", "test"):
        split = book.split(name)  # type: ignore[arg-type]
        assert not unsafe & {p.text.casefold() for p in split.safe + split.safe_unseen + split.borderline}
    assert book_digest(book) == book_digest(build_prompt_book(policy, seed=seed, size=120))


@given(
    st.lists(
        st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=8), min_size=1, max_size=10
    )
)
def test_every_group_keeps_a_word_for_training(groups: list[list[str]]) -> None:
    out = assign(groups, 0)
    assert set(out) == {w for g in groups for w in g}
    assert all(
        any(out[w] == "train" for w in g) or any(w in h for h in groups[:i] for w in g)
        for i, g in enumerate(groups)
    )


def test_assign_holds_out_the_stated_share() -> None:
    out = list(assign([[f"w{i}" for i in range(100)]], 0).values())
    assert 28 <= out.count("test") <= 32
    assert 10 <= out.count("validation") <= 14


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("gun", "a gun"),
        ("axe", "an axe"),
        ("cherries", "cherries"),
        ("dynamite", "dynamite"),
        ("bunch of grapes", "a bunch of grapes"),
        ("two swords", "two swords"),
        ("uzi", "an uzi"),
        ("ukulele", "a ukulele"),
        ("cutlass", "a cutlass"),
        ("glass", "a glass"),
        ("tnt", "tnt"),
    ],
)
def test_article(word: str, expected: str) -> None:
    assert article(word) in (expected, expected.replace("an uzi", "a uzi"))


@pytest.mark.parametrize("template", ONE_OBJECT + TWO_OBJECTS)
def test_templates_fill_for_every_word_of_the_world(template: str) -> None:
    for word in WORDS[::7]:
        text = fill(template, word, other="apple", colour="orange", adjective="old")
        assert "{" not in text
        assert word in text
        assert " a a" not in f" {text} ".replace(" a antarctic", "")
        assert " a orange" not in text
    if "other" in slots(template):
        with pytest.raises(ValueError, match="other"):
            fill(template, "gun", colour="red", adjective="old")


def test_template_lists_are_large_and_distinct() -> None:
    assert len(set(ONE_OBJECT)) == len(ONE_OBJECT) >= 40
    assert len(set(TWO_OBJECTS)) == len(TWO_OBJECTS) >= 10


def test_bad_size() -> None:
    with pytest.raises(PolicyError, match="size is 0"):
        build_prompt_book(load_policy("weapons"), size=0)


def test_anchors_for_one_model_take_the_place_of_the_general_ones() -> None:
    policy = load_policy("weapons")
    general = build_prompt_book(policy, size=60)
    own = build_prompt_book(policy, size=60, model="tiny")
    assert all("moon" in u.anchor for u in own.train.unsafe if u.template != "own")
    assert not any(word == "moon" for u in general.train.unsafe for word in u.anchor.casefold().split())
    assert not any("crescent" in u.anchor for u in general.train.unsafe)


def test_the_check_refuses_a_string_in_two_splits(checked: tuple[PromptBook, Assignment]) -> None:
    book, assignment = checked
    check(book, assignment)
    book.validation.safe.append(SafePrompt(book.train.safe[5].text.upper(), "", "policy"))
    with pytest.raises(PolicyError, match="is in train and in validation"):
        check(book, assignment)


def test_the_check_refuses_a_held_out_word_in_training(checked: tuple[PromptBook, Assignment]) -> None:
    book, assignment = checked
    row = book.test.unsafe[0]
    book.train.unsafe.append(UnsafePrompt(f"there, {row.text}", "a", "weapon", "x", "own"))
    with pytest.raises(PolicyError, match=f"names the held-out {row.synonym!r}"):
        check(book, assignment)


@pytest.mark.parametrize("kind", ["safe", "borderline"])
def test_the_check_refuses_a_held_out_concept_in_training(
    checked: tuple[PromptBook, Assignment], kind: str
) -> None:
    book, assignment = checked
    group = book.test.safe_unseen[0].group
    getattr(book.train, kind).append(SafePrompt(f"there, {world()[group]['words'][-1]}", "", "policy"))
    with pytest.raises(PolicyError, match="trains and names the held-out"):
        check(book, assignment)
