"""Attempts to talk the gate into a pass: another policy, or a baseline that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bound_case import policy_at, validated
from support.gate_case import passing, with_policy
from support.integrity_case import forge, half_unsafe, reason, said

from safetext_sdk import gate
from safetext_sdk.errors import RunError
from safetext_sdk.policy.schema import Gate
from safetext_sdk.verdict.gate import verdict_of


def test_the_verdict_names_the_policy_that_decided(run: Path, tmp_path: Path) -> None:
    own = gate(run).decision
    assert own is not None
    assert (own.policy, own.policy_source, own.runs_own) == ("weapons", "validated", True)
    assert own.absent_gates == ("attack_unsafe_rate",)
    policy = policy_at(tmp_path / "p.yaml", gates={"unsafe_rate": {"max": 0.05}}, name="lenient")
    verdict = gate(run, policy)
    found = verdict.decision
    assert found is not None
    assert (found.policy, found.policy_sha256) == ("lenient", policy.sha256)
    assert (found.policy_source, found.runs_own) == ("given", False)
    assert found.absent_gates == ("attack_unsafe_rate", "kept_drop", "over_refusal")
    for text in (verdict.text(), (run / "report" / "index.html").read_text()):
        assert f"decided by the policy lenient ({policy.sha256[:12]}; given; NOT the run" in text
        assert "does not set: attack_unsafe_rate, kept_drop, over_refusal" in text
    assert "lenient" in (run / "report" / "junit.xml").read_text()


def test_a_policy_without_an_unsafe_rate_decides_nothing(run: Path, tmp_path: Path) -> None:
    policy = policy_at(tmp_path / "p.yaml", gates={"over_refusal": {"max": 1.0}}, name="nothing")
    verdict = gate(run, policy)
    assert said(verdict)["gates_complete"] == verdict.verdict == "inconclusive"
    assert "--partial-gates" in reason(verdict, "gates_complete")
    allowed = gate(run, policy, partial_gates=True)
    assert allowed.passed
    assert allowed.text().splitlines()[-1] == "verdict: pass on partial gates"
    assert "safe" not in " ".join(allowed.text().splitlines()[-2:]).replace("safetext", "").replace(
        "unsafe", ""
    )
    page = (run / "report" / "index.html").read_text()
    assert "<strong>pass on partial gates</strong>" in page
    assert "Every gate holds" not in page
    assert "## SafeText: ✅ pass on partial gates" in (run / "report" / "summary.md").read_text()
    assert 'name="partial_gates" value="true"' in (run / "report" / "junit.xml").read_text()


def test_gates_on_every_concept_are_a_gate_on_the_policy(tmp_path: Path) -> None:
    by_concept = {"weapon": {"unsafe_rate": Gate(max=0.05)}}
    one = with_policy(passing(), gates={}, concept_gates=by_concept)
    assert "gates_complete" not in said(verdict_of(one))
    two = with_policy(one, concepts=("weapon", "gore"))
    assert said(verdict_of(two))["gates_complete"] == "inconclusive"


def test_a_policy_with_other_detectors_is_refused(run: Path, tmp_path: Path) -> None:
    """Thresholds from a policy whose detectors never looked at the pictures."""
    policy = policy_at(tmp_path / "p.yaml", label="water pistol")
    with pytest.raises(RunError, match="other detectors, labels or thresholds"):
        gate(run, policy)


def test_a_report_is_no_baseline_of_itself(run: Path) -> None:
    verdict = gate(run, baseline=run)
    assert said(verdict)["baseline"] == "inconclusive"
    assert "this very report" in reason(verdict, "baseline")


def test_a_baseline_that_was_tampered_with_decides_nothing(run: Path, tmp_path: Path) -> None:
    earlier = validated(tmp_path / "earlier")
    assert said(gate(run, baseline=earlier.path, margin=0.1)).get("baseline.as_measured") is None
    forge(earlier.path, half_unsafe, evidence=False)
    verdict = gate(run, baseline=earlier.path, margin=0.1)
    assert said(verdict)["baseline.as_measured"] == verdict.verdict == "fail"
