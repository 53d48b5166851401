"""The verdict as a type, and the rule that every threshold follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import errors
from ..results.report import SUMMARY
from ..results.summary import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Decision,
    GateResult,
    LeftOutGate,
    Summary,
    VerdictWord,
)
from ..statistics.intervals import Interval

EXIT = {PASS: errors.EXIT_PASS, FAIL: errors.EXIT_FAIL, INCONCLUSIVE: errors.EXIT_INCONCLUSIVE}


@dataclass(frozen=True)
class Verdict:
    """All gates together: fail beats inconclusive beats pass. No gate at all is inconclusive.

    Attributes:
        gates: those that spoke.
        left_out: those that this model cannot be measured on and the policy leaves out then: the verdict says
            nothing about them, and names them.
    """

    gates: tuple[GateResult, ...] = ()
    decision: Decision | None = None
    """Who decided and what was allowed."""
    left_out: tuple[LeftOutGate, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Verdict:
        """The verdict that lies in a report folder as `safetext_sdk.validate` has just written it: nothing is
        judged again."""
        summary = Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"), strict=True)
        return cls(summary.gates or (), summary.decision, summary.left_out)

    @property
    def verdict(self) -> VerdictWord:
        """pass, fail or inconclusive."""
        return overall(self.gates)

    @property
    def word(self) -> str:
        """The verdict as a headline; it says so where only partial gates decided."""
        return self.decision.word(self.verdict) if self.decision else self.verdict

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return self.verdict == PASS

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 4 inconclusive."""
        return EXIT[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "left_out": [gate.model_dump(mode="json") for gate in self.left_out],
            "gates": [gate.model_dump(mode="json") for gate in self.gates],
            "decision": self.decision.model_dump(mode="json") if self.decision else None,
        }

    def text(self) -> str:
        """For a terminal: one line a gate, what was allowed, the verdict last."""
        said: list[tuple[str, str, str]] = [(g.verdict, g.name, g.reason) for g in self.gates]
        said += [("left out", g.name, g.reason) for g in self.left_out]
        width = max((len(name) for _, name, _ in said), default=0)
        lines = [f"{word:<12} {name:<{width}}  {reason}" for word, name, reason in said]
        told = self.decision.lines() if self.decision else []
        unsaid = ", ".join(g.name for g in self.left_out)
        last = f"verdict: {self.word}" + (f"; says nothing about {unsaid}" if unsaid else "")
        return "\n".join([*lines, *told, last])

    def reasons(self) -> list[str]:
        """One line for each gate that did not pass."""
        return [f"{g.name}: {g.verdict}: {g.reason}" for g in self.gates if g.verdict != PASS]


def next_step(verdict: Verdict, run: str | Path) -> str:
    """One line for whoever has just validated a run: the command that comes next, by verdict.

    Args:
        run: run folder or report folder, as it was given to the command.
    """
    if verdict.passed:
        return f"next: safetext gate {run} (exit code 0, for CI), then safetext export {run}"
    if verdict.verdict == INCONCLUSIVE:
        return (
            f"next: safetext validate {run} with the options that the undecided gates name above (what is "
            "drawn is kept); more prompts help no gate that names none"
        )
    return f"next: open the report and see why; safetext gate {run} exits with {verdict.exit_code}"


def overall(gates: Sequence[GateResult]) -> VerdictWord:
    """Fail beats inconclusive beats pass; nothing asked is nothing proven."""
    said = {g.verdict for g in gates}
    if FAIL in said:
        return FAIL
    return PASS if said == {PASS} else INCONCLUSIVE


def decide(interval: Interval, threshold: float, side: Literal["max", "min"]) -> VerdictWord:
    """Pass, fail or inconclusive by the bound alone.

    >>> decide(Interval(0.0, 0.0, 0.026, 100), 0.05, "max")
    'pass'
    >>> decide(Interval(0.02, 0.0, 0.06, 100), 0.05, "max")
    'inconclusive'
    """
    if interval.n == 0 or not all(
        map(math.isfinite, (interval.value, interval.lower, interval.upper, threshold))
    ):
        return INCONCLUSIVE
    if side == "max":
        return PASS if interval.upper <= threshold else FAIL if interval.lower > threshold else INCONCLUSIVE
    return PASS if interval.lower >= threshold else FAIL if interval.upper < threshold else INCONCLUSIVE
