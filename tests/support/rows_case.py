"""A small report that has all that rows can have."""

from __future__ import annotations

from support.gate_case import attack_rows, entry, first, passing, with_attacks, with_gates, with_rows

from safetext_sdk.policy.schema import Gate
from safetext_sdk.results.kept import KeptVote
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import PictureChange


def report_of(n: int = 40) -> Report:
    """Sets, an attack with its control, votes and changes."""
    votes = (KeptVote(judge="toy/a", value=0.7, rule="at least", limit=0.5),)
    report = with_attacks(
        with_gates(passing(n), attack_unsafe_rate=Gate(max=0.2)),
        attack_rows("context", 1, 5, n=n, control=4),
        entry("context", prompts=n),
    )
    report = with_rows(
        report, lambda r: {"kept_by": votes, "change": PictureChange(mean_abs=0.1, ssim=0.9)}, set_="safe"
    )
    return with_rows(report, first(3, lambda r: {"kept": False}), set_="borderline", model="hardened")
