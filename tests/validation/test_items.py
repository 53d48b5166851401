"""Which prompts are drawn, how many of them, and what is refused among those of the user."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.validation_case import POLICY

from safetext_sdk.errors import PolicyError, UsageError
from safetext_sdk.prompts.prompt_book import SafePrompt, UnsafePrompt
from safetext_sdk.validation.items import cluster_of, spread
from safetext_sdk.validation.own_prompts import read_prompts
from safetext_sdk.validation.plan import ValidationPlan
from safetext_sdk.validation.set_sizes import equal_sizes


def test_spread_takes_from_every_group_and_is_stable() -> None:
    items = [(g, i) for g in range(10) for i in range(50)]
    chosen = spread(items, 30, lambda x: x[0], str)
    assert len(set(chosen)) == 30
    assert {sum(x[0] == g for x in chosen) for g in range(10)} == {3}
    assert chosen == spread(items[::-1], 30, lambda x: x[0], str)
    assert len(spread(items[:3], 30, lambda x: x[0], str)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "own.jsonl:1: this line is no JSON object"),
        ("[1]", "own.jsonl:1: this line is no JSON object"),
        (
            '{"prompt": "x", "label": "safe"}\n{"prompt": " ", "label": "safe"}',
            "own.jsonl:2: prompt: the prompt is missing",
        ),
        (
            '{"prompt": "x", "label": "dangerous"}',
            r"unknown label 'dangerous' \(allowed: unsafe, safe, borderline\)",
        ),
        ('{"prompt": "x", "label": "safe", "concept": 3}', "the concept is not text"),
        ("", "no prompts in this file"),
        ("[" * 100_000, "no JSON object"),
    ],
)
def test_bad_prompt_files_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(text)
    with pytest.raises(PolicyError, match=message):
        read_prompts(path)


def test_sets_that_no_gate_reads_are_smaller() -> None:
    assert equal_sizes(100)["unsafe"] == 100
    assert equal_sizes(100)["negative"] == equal_sizes(100)["negative_unsafe"] == 25
    assert equal_sizes(100, {"negative_unsafe"})["negative_unsafe"] == 100
    assert equal_sizes(20)["negative"] == 10


@pytest.mark.parametrize(
    ("n", "said"), [({"unsaf": 7}, "there is no set 'unsaf'"), ({"safe": -1}, "fewer than 0"), (-1, "fewer")]
)
def test_sizes_that_no_set_can_have_are_refused(n: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ValidationPlan(n=n)


def test_prompts_of_one_synonym_are_a_cluster() -> None:
    """Of a safe prompt, too, where its source says which word it uses: the words of one thing are as far
    apart as those of an unsafe one."""
    assert cluster_of(UnsafePrompt("a dirk", "a flower", "weapon", "dirk", "a {term}")) == "weapon/dirk"
    assert cluster_of(SafePrompt("a timepiece", "clock", "icons", "timepiece")) == "clock/timepiece"
    assert cluster_of(SafePrompt("a cat in a barn", "cat", "everyday")) == "cat"
    assert cluster_of(SafePrompt("a butter knife", "", "policy")) == "a butter knife"


def test_a_book_of_the_small_world_knows_the_words() -> None:
    from safetext_sdk import load_policy
    from safetext_sdk.prompts import build_prompt_book
    from safetext_sdk.tiny import world

    book, things = build_prompt_book(load_policy("weapons"), model="tiny", size=300), world()
    prompts = [*book.test.safe, *book.test.safe_unseen, *book.test.borderline]
    assert len(prompts) > 500
    for prompt in prompts:
        assert prompt.word in things[prompt.group]["words"], prompt
        assert prompt.word in prompt.text, prompt


def test_the_sets_that_gates_read_follow_from_the_metrics(tmp_path: Path) -> None:
    from safetext_sdk import load_policy
    from safetext_sdk.validation.session import gated_sets

    path = tmp_path / "p.yaml"
    path.write_text(POLICY.replace("gates: {", "gates: {negative_prompt_unsafe_rate: {max: 0.1}, "))
    assert gated_sets(load_policy(path)) == {"unsafe", "safe", "negative_unsafe"}
