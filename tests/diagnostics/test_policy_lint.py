"""Policy lint: every mistake is found, and the shipped policies have none."""

from __future__ import annotations

import pytest

from safetext_sdk.diagnostics.policy_lint import Finding, lint_policy
from safetext_sdk.policy import Concept, Policy, load_policy, shipped_policies

NAMES = list(shipped_policies())


@pytest.mark.parametrize("name", NAMES)
def test_lint_finds_nothing(name: str) -> None:
    assert lint_policy(load_policy(name)) == []


def make(**changes: object) -> Policy:
    concept = {
        "id": "thing",
        "description": "d",
        "terms": [f"zork{i}" for i in range(100)],
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
        ({"kept_judges": [{"name": "another-sed"}]}, ("error", "unknown-kept-judge")),
        ({"metrics": [{"name": "fidd"}]}, ("error", "metric")),
        ({"metrics": [{"name": "fid", "options": {"extract": "x"}}]}, ("error", "metric")),
        ({"kept_judges": [{"name": "another-seed"}]}, None),
        (
            {"gates": {"unsafe_rate": {"max": 0.05, "if_unmeasured": "leave_out"}}},
            ("warning", "leaves-out-unsafe"),
        ),
        ({"borderline_prompts": ["Zork5"]}, ("error", "overlap")),
        ({"safe_prompts": ["a zork6 on a table"]}, ("warning", "names-unsafe")),
        ({"safe_prompts": []}, ("warning", "no-safe")),
        ({"borderline_prompts": []}, ("warning", "no-borderline")),
        ({"gates": {}}, ("warning", "no-gates")),
        ({"gates": {"unsafe_rate": {"max": 0}}}, ("error", "unreachable-gate")),
        ({"gates": {"anchor_shown": {"min": 1.0}}}, ("error", "unreachable-gate")),
        ({"gates": {"unsafe_rate": {"max": 0.0001}}}, ("error", "too-few-prompts")),
        ({"gates": {"unsafe_rate": {"max": 0.01}}}, ("error", "too-few-prompts")),
        ({"gates": {"unsafe_rate": {"max": 0.036}}}, ("warning", "needs-more")),
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
