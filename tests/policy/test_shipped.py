"""The shipped policies: complete, clean, disjoint, and nothing in them or in what they expand to that must
not exist."""

from __future__ import annotations

import math
from functools import cache

import pytest
from scipy.stats import norm

from safetext_sdk import load_policy
from safetext_sdk.diagnostics.policy_lint import Finding, lint_policy, prompts_needed
from safetext_sdk.errors import PolicyError
from safetext_sdk.policy import Concept, Gate, Policy, merge_policies, shipped_policies
from safetext_sdk.policy.minors import combines, names_minor, names_sexual
from safetext_sdk.policy.schema import LANGUAGES
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.prompts.corpora.everyday import captions
from safetext_sdk.prompts.corpora.statements import shipped_statements, statements
from safetext_sdk.prompts.sources import SHIPPED
from safetext_sdk.prompts.splits import SPLITS, Words

NAMES = [
    "crime",
    "drugs",
    "gore",
    "harassment",
    "hate-symbols",
    "nudity",
    "self-harm",
    "shocking",
    "violence",
    "weapons",
]


@cache
def book_of(name: str) -> PromptBook:
    return build_prompt_book(load_policy(name), size=1000)


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


@pytest.mark.parametrize("name", NAMES)
def test_lint_finds_nothing(name: str) -> None:
    assert lint_policy(load_policy(name)) == []


def test_nudity_uses_nudenet_with_its_labels() -> None:
    spec = next(d for d in load_policy("nudity").concepts[0].detectors if d.name == "nudenet")
    assert "FEMALE_BREAST_EXPOSED" in spec.labels
    assert spec.threshold == 0.2


@pytest.mark.parametrize("name", NAMES)
def test_expansion_is_wide_and_disjoint(name: str) -> None:
    book = book_of(name)
    counts = book.counts()
    assert counts["train"]["unsafe"] == 1000
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
    pattern = Words(held)
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
    words = Words(w for c in policy.concepts for w in c.words if len(w) > 3)
    rows = book_of(name).train.unsafe
    assert len({u.anchor for u in rows}) >= 300, "one anchor for everything would hide a collapse"
    assert [u.anchor for u in rows if words.search(u.anchor)] == []
    assert all(u.anchor != u.text for u in rows)


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


def test_composition_of_all_policies() -> None:
    merged = merge_policies([load_policy(n) for n in NAMES])
    assert len(merged.concepts) == sum(len(load_policy(n).concepts) for n in NAMES)
    book = build_prompt_book(merged, size=1500)
    per_concept = {c.id: sum(u.concept == c.id for u in book.train.unsafe) for c in merged.concepts}
    assert min(per_concept.values()) >= 1500 // len(per_concept) // 2, per_concept
    assert [f for f in lint_policy(merged) if f.level == "error"] == []


def make(**changes: object) -> Policy:
    concept = {
        "id": "thing",
        "description": "d",
        "terms": [f"zork{i}" for i in range(30)],
        "anchors": ["a tulip"],
        "detectors": [{"name": "clip-zero-shot", "labels": ["a zork"]}],
    }
    concept.update({k: v for k, v in changes.items() if k in Concept.model_fields or k == "terms"})
    data = {
        "version": 1,
        "name": "p",
        "concepts": [concept],
        "safe_prompts": [{"shipped": "everyday", "limit": 600}],
        "borderline_prompts": [f"a toy for a number {i}" for i in range(60)],
        "gates": {"unsafe_rate": {"max": 0.05}},
    }
    data.update(
        {k: v for k, v in changes.items() if k in Policy.model_fields and k not in Concept.model_fields}
    )
    if "gates" in changes:
        concept.pop("gates", None)
        data["gates"] = changes["gates"]
    return Policy.model_validate(data)


def codes(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(f.level, f.code) for f in findings}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"anchors": ["a zork3 in a vase"]}, ("error", "unsafe-anchor")),
        ({"anchors": []}, ("error", "no-anchor")),
        ({"near_misses": ["zork4"]}, ("error", "overlap")),
        ({"borderline_prompts": ["Zork5"]}, ("error", "overlap")),
        ({"safe_prompts": ["a zork6 on a table"]}, ("warning", "names-unsafe")),
        ({"safe_prompts": []}, ("warning", "no-safe")),
        ({"borderline_prompts": []}, ("warning", "no-borderline")),
        ({"gates": {}}, ("warning", "no-gates")),
        ({"gates": {"unsafe_rate": {"max": 0}}}, ("error", "unreachable-gate")),
        ({"gates": {"anchor_shown": {"min": 1.0}}}, ("error", "unreachable-gate")),
        ({"gates": {"unsafe_rate": {"max": 0.0001}}}, ("error", "too-few-prompts")),
        ({"gates": {"unsafe_rate": {"max": 0.01}}}, ("warning", "needs-more")),
        ({"gates": {"over_refusal": {"max": 0.01}}}, ("error", "too-few-prompts")),
        ({"gates": {"over_refusl": {"max": 0.01}}}, ("error", "unknown-gate")),
        ({"detectors": []}, ("warning", "no-detector")),
        (
            {"detectors": [{"name": "tiny-judges", "labels": ["x"], "models": ["tiny"]}]},
            ("warning", "no-detector"),
        ),
        ({"detectors": [{"name": "clip-zero-shoot", "labels": ["x"]}]}, ("error", "unknown-detector")),
        (
            {
                "detector_rule": "all",
                "detectors": [
                    {"name": "nudenet", "labels": ["x"]},
                    {"name": "clip-zero-shot", "labels": ["x"]},
                ],
            },
            ("warning", "lenient-rule"),
        ),
        ({"terms": ["zork"]}, ("warning", "nothing-held-out")),
        ({"terms": ["zork", "blarg", "grue", "quux"]}, ("warning", "few-words")),
        ({"description": None}, ("warning", "no-description")),
    ],
)
def test_lint(changes: dict[str, object], expected: tuple[str, str] | None) -> None:
    found = lint_policy(make(**changes))
    if expected is None:
        assert found == []
    else:
        assert expected in codes(found), found


def test_lint_of_two_concepts() -> None:
    a = {"id": "a", "description": "d", "terms": [f"zork{i}" for i in range(20)], "anchors": ["a tulip"]}
    b = {
        "id": "b",
        "description": "d",
        "terms": [f"blarg{i}" for i in range(20)] + ["zork1"],
        "anchors": ["a rose"],
    }
    policy = Policy.model_validate({"version": 1, "name": "p", "concepts": [a, b]})
    assert ("warning", "same-term") in codes(lint_policy(policy))
    assert ("error", "minors") in codes(
        lint_policy(
            policy.model_copy(update={"concepts": [Concept(id="x", terms=["nude boy"], anchors=["a"])]})
        )
    )


@pytest.mark.parametrize("threshold", [0.005, 0.01, 0.05, 0.1, 0.5])
def test_prompts_needed_against_the_wilson_bound(threshold: float) -> None:
    z = float(norm.ppf(0.95))

    def upper(n: int) -> float:  # Wilson's upper bound with no failure
        centre, half = z * z / (2 * n), z * math.sqrt(z * z / (4 * n * n))
        return (centre + half) / (1 + z * z / n)

    needed = prompts_needed(Gate(max=threshold))
    assert needed is not None
    assert upper(needed) <= threshold
    assert needed == 1 or upper(needed - 1) > threshold
    assert prompts_needed(Gate(min=1 - threshold)) == needed


def test_lookalikes_are_many_safe_and_only_for_training() -> None:
    from safetext_sdk.prompts.corpora.lookalikes import captions as lookalikes

    rows = lookalikes()
    assert len({r.text for r in rows}) == len(rows) >= 10_000
    shipped = SHIPPED["lookalikes"](0)
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
    terms = Words(w for p in policies for c in p.concepts for w in c.words)
    pairs = [row for name in shipped_statements() for row in statements(name)]
    texts = [t.casefold() for row in pairs for t in (row.text, row.anchor)]
    assert len(set(texts)) == len(texts) >= 2000
    assert [row for row in pairs if names_minor(row.text) or names_minor(row.anchor)] == []
    assert [row.anchor for row in pairs if terms.search(row.anchor)] == []


def test_every_shipped_concept_trains_on_its_statements() -> None:
    named = [r.shipped for n in shipped_policies() for c in load_policy(n).concepts for r in c.unsafe_prompts]
    assert sorted(filter(None, named)) == sorted(shipped_statements())
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
    assert [u.text for u in rows["train"] if Words(held).search(u.text)] == []
    unseen = Words(p.group for s in (book.validation, book.test) for p in s.safe_unseen if p.group)
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
    rows = SHIPPED["snapshots"](0)
    texts = [r.text for r in rows]
    assert len({t.casefold() for t in texts}) == len(texts) >= 2_000
    assert all(r.train_only for r in rows)
    assert [t for t in texts if names_minor(t) or not 4 <= len(t.split()) <= 20] == []
    book = book_of("weapons")
    assert sum(p.source == "snapshots" for p in book.train.safe) >= 1_500
    assert [p for s in (book.validation, book.test) for p in s.safe if p.source == "snapshots"] == []
