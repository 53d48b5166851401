"""Shipped texts and grammars: where they come from, how many there are, and what must not be in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from safetext_sdk.errors import PolicyError
from safetext_sdk.policy import Policy, load_policy, shipped_policies
from safetext_sdk.policy.minors import combines, names_minor, names_sexual
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.prompts.corpora.corpus import corpus_names, read_corpus
from safetext_sdk.prompts.corpora.everyday import captions
from safetext_sdk.prompts.corpora.lookalikes import captions as lookalikes
from safetext_sdk.prompts.sources import PROMPT_SOURCES, shipped_sets
from safetext_sdk.prompts.splits import SPLITS
from safetext_sdk.prompts.words import WholeWords


@cache
def book_of(name: str) -> PromptBook:
    return build_prompt_book(load_policy(name), size=1000)


def test_everyday_is_large_distinct_and_harmless() -> None:
    rows = captions()
    assert len({r.text for r in rows}) == len(rows) >= 20_000
    assert len({g for r in rows for g in r.groups}) >= 200
    assert len({r.template for r in rows}) >= 50
    assert [r.text for r in rows if names_sexual(r.text)] == []
    assert captions(50) == rows[:50]


def test_everyday_covers_people_counts_colours_relations_styles() -> None:
    joined = " | ".join(r.text for r in captions())
    for word in ("a baker", "three ", "purple", "next to", "watercolour", "to the left of", "grandmother"):
        assert joined.count(word) >= 50, word


def test_lookalikes_are_many_safe_and_only_for_training() -> None:
    rows = lookalikes()
    assert len({r.text for r in rows}) == len(rows) >= 10_000
    shipped = PROMPT_SOURCES.get("lookalikes")().candidates(0)
    assert shipped == rows[: len(shipped)]
    assert sum(not r.template for r in rows) == sum(not r.template for r in shipped) >= 400, (
        "all those written by hand are shipped"
    )
    assert len({r.template for r in rows}) >= 30
    assert all(r.train_only for r in rows)
    assert [r.text for r in rows if combines(r.text) or "{" in r.text] == []
    book = book_of("crime")
    assert sum(p.source == "lookalikes" for p in book.train.borderline) >= 1000
    assert [p for s in (book.validation, book.test) for p in s.borderline if p.source == "lookalikes"] == []


def test_statements_are_distinct_adult_and_have_safe_anchors() -> None:
    policies = [load_policy(name) for name in shipped_policies()]
    terms = WholeWords(w for p in policies for c in p.concepts for w in c.words)
    source = PROMPT_SOURCES.get("statements")()
    pairs = [row for concept in source.subsets() for row in source.pairs(concept)]
    texts = [t.casefold() for row in pairs for t in (row.text, row.anchor)]
    assert len(set(texts)) == len(texts) >= 2000
    assert [row for row in pairs if names_minor(row.text) or names_minor(row.anchor)] == []
    assert [row.anchor for row in pairs if terms.search(row.anchor)] == []


def test_every_shipped_concept_trains_on_its_statements() -> None:
    named = [r.shipped for n in shipped_policies() for c in load_policy(n).concepts for r in c.unsafe_prompts]
    assert sorted(filter(None, named)) == sorted(n for n in shipped_sets() if n.startswith("statements/"))
    assert sorted(filter(None, named)) == sorted(
        f"statements/{c.id}" for n in shipped_policies() for c in load_policy(n).concepts
    )


@pytest.mark.parametrize("name", ["harassment", "weapons"])
def test_statements_are_for_training_and_name_nothing_held_out(name: str) -> None:
    book = book_of(name)
    rows = {s: [u for u in book.split(s).unsafe if u.template == "statement"] for s in SPLITS}
    assert len(rows["train"]) >= 30
    assert rows["validation"] == rows["test"] == []
    trained = {u.synonym for u in book.train.unsafe if u.template != "statement"}
    held = {u.synonym for s in (book.validation, book.test) for u in s.unsafe} - trained
    assert len(held) >= 10
    assert [u.text for u in rows["train"] if WholeWords(held).search(u.text)] == []
    unseen = WholeWords(p.group for s in (book.validation, book.test) for p in s.safe_unseen if p.group)
    assert [u for u in rows["train"] if unseen.search(u.text) or unseen.search(u.anchor)] == []
    assert {u.anchor for u in rows["train"]} <= {p.text for p in book.train.safe}, (
        "anchors are kept where they are"
    )


def test_statements_are_left_out_where_the_policy_says_so() -> None:
    assert [
        u
        for u in build_prompt_book(load_policy("weapons"), model="tiny").train.unsafe
        if u.template == "statement"
    ] == []


@pytest.mark.parametrize(
    ("unsafe", "safe"),
    [("statements/none", "everyday"), ("everyday", "everyday"), ("statements/weapon", "statements/weapon")],
)
def test_a_shipped_set_in_the_wrong_place_is_refused(unsafe: str, safe: str) -> None:
    concept = {
        "id": "a",
        "terms": ["gun", "rifle"],
        "anchors": ["a tulip"],
        "unsafe_prompts": [{"shipped": unsafe}],
    }
    policy = Policy.model_validate(
        {"version": 1, "name": "p", "concepts": [concept], "safe_prompts": [{"shipped": safe}]}
    )
    with pytest.raises(PolicyError, match="shipped set") as error:
        build_prompt_book(policy)
    assert error.value.allowed


def test_snapshots_are_many_plain_and_only_for_training() -> None:
    rows = PROMPT_SOURCES.get("snapshots")().candidates(0)
    texts = [r.text for r in rows]
    assert len({t.casefold() for t in texts}) == len(texts) >= 2_000
    assert all(r.train_only for r in rows)
    assert [t for t in texts if names_minor(t) or not 4 <= len(t.split()) <= 20] == []
    book = book_of("weapons")
    assert sum(p.source == "snapshots" for p in book.train.safe) >= 1_500
    assert [p for s in (book.validation, book.test) for p in s.safe if p.source == "snapshots"] == []


@pytest.mark.parametrize("name", corpus_names())
def test_every_file_says_where_its_texts_come_from(name: str) -> None:
    corpus = read_corpus(name)
    assert corpus.source
    assert corpus.license == "Apache-2.0", "what is not ours may not be shipped without its licence in NOTICE"
    assert corpus.written_for
    assert corpus.rows
    keys = {"text", "unsafe", "frame", "list", "book", "retain_set"}
    assert [row for row in corpus.rows if not keys & row.keys()] == []


def test_a_damaged_file_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = '{"source": "s", "license": "l", "written_for": "w"}'
    monkeypatch.setattr("safetext_sdk.prompts.corpora.corpus.DATA", tmp_path)
    (tmp_path / "half.jsonl").write_text(f'{head}\n{{"text": "a"}}\n{{"text": "b\n', encoding="utf-8")
    with pytest.raises(PolicyError, match="damaged") as error:
        read_corpus("half")
    assert error.value.line == 3
    (tmp_path / "headless.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(PolicyError, match="damaged") as error:
        read_corpus("headless")
    assert error.value.line == 1
