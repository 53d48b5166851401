"""Which prompts are drawn, how many of them, and what is refused among those of the user."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.validation_case import POLICY

from safetext_sdk.errors import (
    PolicyError,
)
from safetext_sdk.validation.items import Choice, spread
from safetext_sdk.validation.own_prompts import read_prompts


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
        ('{"prompt": "x", "label": "safe", "concept": 3}', "the concept is no text"),
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
    assert Choice(100).counts()["unsafe"] == 100
    assert Choice(100).counts()["negative"] == Choice(100).counts()["negative_unsafe"] == 25
    assert Choice(100, gated={"negative_unsafe"}).counts()["negative_unsafe"] == 100
    assert Choice(20).counts()["negative"] == 10
    assert Choice({"unsafe": 7}, gated=()).counts() | {"unsafe": 7} == Choice({"unsafe": 7}).counts()
    assert Choice({"unsafe": 7}).counts()["safe"] == 100


def test_the_sets_that_gates_read_follow_from_the_metrics(tmp_path: Path) -> None:
    from safetext_sdk import load_policy
    from safetext_sdk.validation.session import gated_sets

    path = tmp_path / "p.yaml"
    path.write_text(POLICY.replace("gates: {", "gates: {negative_prompt_unsafe_rate: {max: 0.1}, "))
    assert gated_sets(load_policy(path)) == {"unsafe", "safe", "negative_unsafe"}
