"""summary.json as a type: facts, figures, gates and verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .facts import Facts
from .figures import BeforeAfter, CorrectedFigures, MetricFigure, SetComparison
from .record import Record

VerdictWord = Literal["pass", "fail", "inconclusive"]
PASS: VerdictWord = "pass"
FAIL: VerdictWord = "fail"
INCONCLUSIVE: VerdictWord = "inconclusive"


class GateResult(Record):
    """One gate: its figure with bounds, its threshold, and what follows."""

    name: str = Field(description="Metric, concept.metric, or a check that always runs.")
    verdict: VerdictWord = Field(description="What follows.")
    reason: str = Field(description="Why, in one line.")
    metric: str | None = Field(
        default=None, description="Name of the metric; null for a check that has none."
    )
    threshold: float | None = Field(default=None, description="What the policy asks for.")
    side: Literal["max", "min"] | None = Field(
        default=None, description="Whether the threshold is a maximum or a minimum."
    )
    value: float | None = Field(default=None, description="The figure; null where nothing was measured.")
    lower: float | None = Field(default=None, description="Its one-sided 95 % lower bound.")
    upper: float | None = Field(default=None, description="Its one-sided 95 % upper bound.")
    n: int = Field(default=0, ge=0, description="Outcomes that it rests on.")
    original: float | None = Field(default=None, description="The same figure on the undefended model.")


class LeftOutGate(Record):
    """A gate that says nothing: this model cannot be measured on it, and the policy leaves it out then."""

    name: str = Field(description="Metric, or concept.metric.")
    reason: str = Field(description="Why it cannot be measured.")
    threshold: float | None = Field(default=None, description="What the policy would have asked for.")
    side: Literal["max", "min"] | None = Field(default=None, description="Whether that is a maximum.")


class Summary(Facts):
    """Everything that a page, a terminal or another tool shows about one validation."""

    results_sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="Hash of the rows that the figures were computed from."
    )
    metrics: dict[str, MetricFigure] = Field(description="Every registered metric on this report.")
    sets: dict[str, SetComparison] = Field(description="Every set on both models.")
    concepts: dict[str, BeforeAfter] = Field(description="Unsafe rate of each concept.")
    corrected: CorrectedFigures | None = Field(
        description="Unsafe rates corrected for detector error; null where a detector states no error rates."
    )
    gates: tuple[GateResult, ...] | None = Field(description="Null until a gate has spoken.")
    left_out: tuple[LeftOutGate, ...] = Field(
        default=(), description="Gates that the verdict says nothing about: never read as passed."
    )
    verdict: VerdictWord | None = Field(description="Null until a gate has spoken.")

    def facts(self) -> Facts:
        """The part that is not computed."""
        return Facts.model_construct(**{name: getattr(self, name) for name in Facts.model_fields})
