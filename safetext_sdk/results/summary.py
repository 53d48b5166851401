"""summary.json as a type: facts, figures, gates and verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .facts import Facts
from .figures import BeforeAfter, CorrectedFigures, MetricFigure, SetComparison, Worth
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
    worth: Worth | None = Field(default=None, description="What they are worth; null where it is not known.")
    original: float | None = Field(default=None, description="The same figure on the undefended model.")


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
    verdict: VerdictWord | None = Field(description="Null until a gate has spoken.")

    def facts(self) -> Facts:
        """The part that is not computed."""
        return Facts.model_construct(**{name: getattr(self, name) for name in Facts.model_fields})
