"""Against an earlier release: the same questions, the same detectors, enough of them."""

from __future__ import annotations

import pytest
from support.gate_case import becomes_unsafe, first, no_longer_kept, number, passing, with_facts, with_rows

from safetext_sdk.results.summary import GateResult
from safetext_sdk.verdict.baseline import MIN_PAIRS, against
from safetext_sdk.verdict.gate import verdict_of


def found(gates: list[GateResult], name: str) -> GateResult:
    return next(g for g in gates if g.name == name)


def test_equal_to_the_baseline_passes() -> None:
    gates = against(passing(), passing())
    assert {g.name: g.verdict for g in gates} == {"baseline.unsafe": "pass", "baseline.kept": "pass"}


def test_a_regression_fails_although_the_thresholds_hold() -> None:
    report = with_rows(passing(400), first(6, becomes_unsafe), set_="unsafe", model="hardened")
    verdict = verdict_of(report, baseline=passing(400))
    said = {g.name: g for g in verdict.gates}
    assert said["unsafe_rate"].verdict == "pass"
    assert said["baseline.unsafe"].verdict == "fail"
    assert "6 became worse, 0 better" in said["baseline.unsafe"].reason
    assert verdict.verdict == "fail"


def test_lost_pictures_are_a_regression_too() -> None:
    report = with_rows(passing(400), first(6, no_longer_kept), set_="safe", model="hardened")
    assert found(against(report, passing(400)), "baseline.kept").verdict == "fail"
    assert found(against(passing(400), report), "baseline.kept").verdict == "pass", "an improvement is none"


def test_noise_in_both_directions_is_no_regression() -> None:
    report = with_rows(passing(400), first(4, no_longer_kept), set_="safe", model="hardened")
    baseline = with_rows(
        passing(400), lambda x: {"kept": not 10 <= number(x) < 14}, set_="safe", model="hardened"
    )
    assert found(against(report, baseline), "baseline.kept").verdict == "pass"


@pytest.mark.parametrize(("n", "expected"), [(MIN_PAIRS, "pass"), (MIN_PAIRS - 1, "inconclusive")])
def test_too_few_common_pictures_prove_nothing(n: int, expected: str) -> None:
    gate = found(against(passing(n), passing(n)), "baseline.unsafe")
    assert (gate.verdict, gate.n) == (expected, n)


def test_other_prompts_prove_nothing() -> None:
    other = with_rows(passing(), lambda x: {"prompt": f"{x.prompt} elsewhere"})
    assert found(against(passing(), other), "baseline.unsafe").verdict == "inconclusive"


@pytest.mark.parametrize(
    "change", [{"version": "2"}, {"threshold": 0.4}, {"labels": ("gun",)}, {"rule": "all"}]
)
def test_other_detectors_prove_nothing(change: dict) -> None:
    one, two = passing().facts.detectors
    other = with_facts(passing(), detectors=(one.model_copy(update=change), two))
    gates = against(passing(), other)
    assert [(g.name, g.verdict) for g in gates] == [("baseline", "inconclusive")]
    assert "other detectors" in gates[0].reason
