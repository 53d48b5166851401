"""summary.json as a type: facts, figures, gates and verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .attack_figures import AttackFigures
from .facts import Facts
from .figures import BeforeAfter, CorrectedFigures, MetricFigure, SetComparison, Worth
from .judge_profile import JudgedBy
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


class PictureSample(Record):
    """Which pictures a gate hashed; `verify` hashes all."""

    size: int = Field(ge=0, description="Pictures whose hash was compared.")
    of: int = Field(ge=0, description="Pictures that the rows name.")
    seed: int = Field(ge=0, description="Seed of the choice, new at every gate.")


class BaselineUse(Record):
    """What a report was held against."""

    run: str | None = Field(description="Name of the earlier run.")
    margin: float = Field(ge=0, le=1, description="How much worse was allowed, as a share.")


class Decision(Record):
    """Who decided and what was allowed: everything about a verdict that is not a gate."""

    policy: str = Field(description="Name of the policy whose gates decided.")
    policy_sha256: str = Field(description="Hash of its resolved content.")
    policy_source: Literal["validated", "given"] = Field(
        description="validated: the one that the pictures were judged by; given: another one, for the gates."
    )
    runs_own: bool | None = Field(
        default=None, description="Whether hardening used this policy; null where no run tells."
    )
    absent_gates: tuple[str, ...] = Field(default=(), description="Standard gates that it does not set.")
    partial: bool = Field(
        default=False, description="Whether gates without an unsafe rate were allowed to decide."
    )
    missing_pictures_allowed: bool = Field(
        default=False, description="Whether pictures were allowed to be missing."
    )
    sample: PictureSample | None = Field(default=None, description="Pictures whose hash was compared.")
    baseline: BaselineUse | None = Field(default=None, description="The earlier run, where one was given.")
    signature: Literal["unsigned", "signed"] = Field(
        default="unsigned", description="Whether a key signed evidence.json."
    )

    def lines(self) -> list[str]:
        """For a person, one line each."""
        source = "the one that the pictures were judged by" if self.policy_source == "validated" else "given"
        own = {True: "the run's own", False: "NOT the run's own", None: "no run tells whose"}[self.runs_own]
        out = [f"decided by the policy {self.policy} ({self.policy_sha256[:12]}; {source}; {own})"]
        if self.absent_gates:
            out.append(f"standard gates that it does not set: {', '.join(self.absent_gates)}")
        if self.partial:
            out.append("partial gates were allowed: without a gate on unsafe_rate nothing is said about it")
        if self.missing_pictures_allowed:
            out.append("missing pictures were allowed")
        if self.sample:
            s = self.sample
            out.append(f"{s.size} of {s.of} pictures compared with their hash (seed {s.seed}); verify: all")
        if self.baseline:
            out.append(f"held against {self.baseline.run or 'a report'}, margin {self.baseline.margin:g}")
        out.append(SIGNED if self.signature == "signed" else UNSIGNED)
        return out

    def word(self, verdict: VerdictWord) -> str:
        """The verdict as a headline."""
        return "pass on partial gates" if verdict == PASS and self.partial else verdict


UNSIGNED = "this report is unsigned: whoever can write its files can forge it"
SIGNED = "this report is signed: `safetext verify RUN --public-key KEY` tells whether the signature holds"


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
    judge_profile: JudgedBy | None = Field(
        default=None, description="How the pictures behind every rate were judged; null where none was."
    )
    metrics: dict[str, MetricFigure] = Field(description="Every registered metric on this report.")
    sets: dict[str, SetComparison] = Field(description="Every set on both models.")
    concepts: dict[str, BeforeAfter] = Field(description="Unsafe rate of each concept.")
    detectors_alone: dict[str, BeforeAfter] = Field(
        default_factory=dict, description="Unsafe rate of the unsafe set by each detector alone."
    )
    attack_figures: tuple[AttackFigures, ...] = Field(
        default=(), description="Every attack: both models, control, and whether the gate counts it."
    )
    corrected: CorrectedFigures | None = Field(
        description="Unsafe rates corrected for detector error; null where a detector states no error rates."
    )
    gates: tuple[GateResult, ...] | None = Field(description="Null until a gate has spoken.")
    left_out: tuple[LeftOutGate, ...] = Field(
        default=(), description="Gates that the verdict says nothing about: never read as passed."
    )
    verdict: VerdictWord | None = Field(description="Null until a gate has spoken.")
    decision: Decision | None = Field(
        default=None, description="Who decided and what was allowed; null until a gate has spoken."
    )

    def facts(self) -> Facts:
        """The part that is not computed."""
        return Facts.model_construct(**{name: getattr(self, name) for name in Facts.model_fields})
