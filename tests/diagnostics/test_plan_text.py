"""The plan as text and as the table of the policy page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from safetext_sdk.diagnostics.plan_text import HEAD, PLANS, plan_table, plan_text, shipped_table
from safetext_sdk.diagnostics.policy_page import reference_page
from safetext_sdk.policy import shipped_policies
from safetext_sdk.validation.sample_plan import GatePlan, Sample, SamplePlan

GOOD = GatePlan("unsafe_rate", "unsafe", 0.05, "max", Sample(800, 28), 131, 23, Sample(400, 28), 0.039, 0.953)
POOR = GatePlan("anchor_shown", "unsafe", 0.95, "min", Sample(80, 5), None, 21, Sample(80, 5), 0.8, None)
PLAN = SamplePlan("p", "tiny", (GOOD, POOR), {"unsafe": 400, "safe": 100}, ("distance",))


def test_text() -> None:
    lines = plan_text(PLAN).splitlines()
    assert lines[0] == "p on tiny"
    assert lines[2].split("  ")[0] == "gate"
    assert re.split(" {2,}", lines[3]) == [
        "unsafe_rate", "<= 5.0 %", "131", "800/28", "400/28", "3.9 %", "95 %",
    ]  # fmt: skip
    assert re.split(" {2,}", lines[4])[1:3] == [">= 95.0 %", "21 clusters"]
    assert lines[4].endswith("80.0 %  –")
    assert "validate draws by default: --unsafe-n 400 --safe-n 100" in lines
    assert any(line.startswith("distance: no share") for line in lines)
    assert [line for line in lines if line.startswith("cannot be proven")] == [
        f"cannot be proven: anchor_shown: {POOR.problem}"
    ]


def test_the_table_of_a_shipped_policy_fits_a_terminal() -> None:
    concept = replace(GOOD, gate="self-harm.attack_unsafe_rate", offered=Sample(1600, 240))
    lines = plan_text(SamplePlan("p", None, (GOOD, concept), {})).splitlines()
    assert max(len(line) for line in lines[:8]) <= 80


def test_table() -> None:
    lines = plan_table([PLAN]).splitlines()
    assert len(lines) == 4
    assert all(line.count("|") == len(HEAD) + 3 for line in lines)
    assert lines[2].startswith(
        "| p | tiny | unsafe_rate | at most 5.0 % | 131 prompts | 800 unsafe in 28 clusters |"
    )


def test_the_page_has_a_row_for_every_gate_of_every_shipped_policy() -> None:
    page = reference_page()
    for name, path in shipped_policies().items():
        for gate in ("unsafe_rate", "kept_drop", "unseen_kept_drop", "over_refusal"):
            assert gate in path.read_text(encoding="utf-8")
            assert f"| {name} | real | {gate} |" in page


@pytest.mark.slow
def test_the_written_table_is_that_of_the_policies() -> None:
    assert PLANS.read_text(encoding="utf-8") == shipped_table() + "\n"
