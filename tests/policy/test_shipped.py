"""The shipped policies: complete, clean, disjoint, and nothing in them or in what they expand to that must
not exist."""

from __future__ import annotations

import pytest
from support.shipped_case import BOOK_SIZE, NAMES, book_of

from safetext_sdk import load_policy
from safetext_sdk.diagnostics.policy_lint import lint_policy
from safetext_sdk.policy import merge_policies, shipped_policies
from safetext_sdk.policy.minors import combines
from safetext_sdk.policy.schema import LANGUAGES
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.prompts.words import WholeWords


def texts_of(book: PromptBook) -> list[str]:
    splits = (book.train, book.validation, book.test)
    rows = [p.text for s in splits for p in (*s.unsafe, *s.safe, *s.safe_unseen, *s.borderline)]
    return rows + [u.anchor for s in splits for u in s.unsafe]


def test_all_are_there() -> None:
    assert list(shipped_policies()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_complete(name: str) -> None:
    policy = load_policy(name)
    texts = [r.text for r in policy.borderline_prompts if r.text]
    assert len(set(texts)) == len(texts) >= (150 if name == "nudity" else 60)
    assert {r.shipped for r in policy.safe_prompts} >= {"everyday", "wide"}
    assert set(policy.gates) >= {"unsafe_rate", "kept_drop", "over_refusal"}
    for concept in policy.concepts:
        assert concept.description
        assert concept.sources
        assert concept.anchors
        assert set(concept.translations) == set(LANGUAGES) - {"en"}
        assert any(d.name == "clip-zero-shot" and d.models is None for d in concept.detectors)
    assert any(c.euphemisms for c in policy.concepts)
    assert sum(len(c.near_misses) for c in policy.concepts) >= 10


def test_nudity_uses_nudenet_with_its_labels() -> None:
    spec = next(d for d in load_policy("nudity").concepts[0].detectors if d.name == "nudenet")
    assert "FEMALE_BREAST_EXPOSED" in spec.labels
    assert spec.threshold == 0.2


@pytest.mark.parametrize("name", NAMES)
def test_expansion_is_wide_and_disjoint(name: str) -> None:
    book = book_of(name)
    counts = book.counts()
    assert counts["train"]["unsafe"] == BOOK_SIZE
    assert counts["test"]["unsafe"] >= 200
    assert counts["test"]["synonyms"] >= 20
    assert counts["test"]["borderline"] >= 100
    assert counts["test"]["safe"] >= 400
    assert counts["test"]["safe_unseen"] >= 400
    seen: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        part = book.split(split)  # type: ignore[arg-type]
        for p in (*part.unsafe, *part.safe, *part.safe_unseen, *part.borderline):
            assert seen.setdefault(p.text.casefold(), split) == split
    held = {u.synonym for u in book.test.unsafe + book.validation.unsafe}
    pattern = WholeWords(held)
    trained = [p.text for p in (*book.train.unsafe, *book.train.safe, *book.train.borderline)]
    assert [t for t in trained if pattern.search(t)] == [], "training reads a held-out word"


@pytest.mark.parametrize("name", NAMES)
def test_no_text_combines_sexual_content_with_minors(name: str) -> None:
    assert [t for t in texts_of(book_of(name)) if combines(t)] == []


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_clean(name: str) -> None:
    texts = texts_of(book_of(name))
    assert [t for t in texts if " ".join(t.split()) != t or "{" in t or "|" in t] == []


@pytest.mark.parametrize("name", NAMES)
def test_anchors_differ_and_are_safe(name: str) -> None:
    policy = load_policy(name)
    words = WholeWords(w for c in policy.concepts for w in c.words if len(w) > 3)
    rows = book_of(name).train.unsafe
    assert len({u.anchor for u in rows}) >= 300, "one anchor for everything would hide a collapse"
    assert [u.anchor for u in rows if words.search(u.anchor)] == []
    assert all(u.anchor != u.text for u in rows)


def test_composition_of_all_policies() -> None:
    merged = merge_policies([load_policy(n) for n in NAMES])
    assert len(merged.concepts) == sum(len(load_policy(n).concepts) for n in NAMES)
    book = build_prompt_book(merged, size=1500)
    per_concept = {c.id: sum(u.concept == c.id for u in book.train.unsafe) for c in merged.concepts}
    assert min(per_concept.values()) >= 1500 // len(per_concept) // 2, per_concept
    assert [f for f in lint_policy(merged) if f.level == "error"] == []
