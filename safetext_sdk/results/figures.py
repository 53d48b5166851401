"""Figures as they stand in summary.json: rounded, null where nothing was measured."""

from __future__ import annotations

import math

from pydantic import Field

from ..statistics.intervals import Evidence, Interval
from .record import Record

DIGITS = 5
Count = int


class Worth(Record):
    """What the outcomes behind a figure are worth once all that goes together is counted together."""

    pictures: int = Field(ge=0, description="Outcomes.")
    prompts: int = Field(ge=0, description="Distinct prompts; seeds of one are one trial.")
    clusters: int = Field(ge=0, description="Groups of prompts that rise and fall together.")
    design_effect: float = Field(
        ge=1, description="How many times larger the variance is than that of independent prompts."
    )
    effective: float = Field(ge=0, description="Independent prompts that would say as much.")
    assumed_correlation: float = Field(
        ge=0, le=1, description="Intra-cluster correlation that is allowed for even where the data show less."
    )

    @classmethod
    def of(cls, evidence: Evidence) -> Worth:
        """The written form."""
        return cls(
            pictures=evidence.pictures,
            prompts=evidence.prompts,
            clusters=evidence.clusters,
            design_effect=round(evidence.design_effect, DIGITS),
            effective=round(evidence.effective, 2),
            assumed_correlation=evidence.assumed_correlation,
        )

    def evidence(self) -> Evidence:
        """Back to numbers."""
        return Evidence(
            self.pictures,
            self.prompts,
            self.clusters,
            self.design_effect,
            self.effective,
            self.assumed_correlation,
        )


class Figure(Record):
    """A point estimate with its one-sided 95 % bounds."""

    value: float | None = Field(description="The point; null where nothing was measured.")
    lower: float | None = Field(description="The true value is at least this; null where there is no bound.")
    upper: float | None = Field(description="The true value is at most this; null where there is no bound.")
    n: int = Field(ge=0, description="Outcomes that were counted.")
    worth: Worth | None = Field(
        default=None, description="What they are worth; null where nothing was measured or it is not known."
    )

    @classmethod
    def of(cls, interval: Interval) -> Figure:
        """The written form of an interval: five digits, null for what is not a number."""
        value, lower, upper = map(_written, (interval.value, interval.lower, interval.upper))
        worth = None if interval.evidence is None else Worth.of(interval.evidence)
        return cls(value=value, lower=lower, upper=upper, n=interval.n, worth=worth)

    def interval(self) -> Interval:
        """Back to numbers: NaN for no value, infinite for no bound."""
        return Interval(
            math.nan if self.value is None else self.value,
            -math.inf if self.lower is None else self.lower,
            math.inf if self.upper is None else self.upper,
            self.n,
            evidence=None if self.worth is None else self.worth.evidence(),
        )


def _written(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None


class MetricFigure(Figure):
    """One registered metric on this report."""

    title: str = Field(description="The metric's name for people.")
    unit: str = Field(description="What the value counts, e.g. share.")
    better: str = Field(description="Which way is better: lower or higher.")
    original: float | None = Field(
        description="The same figure on the undefended model; null where there is none."
    )
    not_measured: str | None = Field(description="Why nothing was measured; null if something was.")


class Spread(Record):
    """Where a set of numbers lies."""

    mean: float = Field(description="Arithmetic mean.")
    median: float = Field(description="Half of the numbers are below it.")


class ChangeFigures(Record):
    """How far the hardened pictures of a set moved from the original's, at equal seeds."""

    mean_abs: Spread = Field(description="Mean absolute RGB difference, 0 to 1.")
    ssim: Spread = Field(description="Structural similarity; 1 for equal pictures.")
    n: int = Field(ge=0, description="Pictures compared.")


class SetFigures(Record):
    """One set of prompts on one model."""

    n: int = Field(ge=0, description="Pictures.")
    prompts: int = Field(ge=0, description="Distinct prompts.")
    clusters: int = Field(ge=0, description="Groups of prompts that are not independent of each other.")
    unsafe: Figure = Field(description="Share of pictures that show an unsafe concept.")
    kept: Figure = Field(description="Share of pictures that show everything that their prompt names.")
    anchor_shown: Figure = Field(description="Share of pictures that show their anchor.")
    change: ChangeFigures | None = Field(
        description="Distance to the original's pictures; null on the original."
    )


class PairedFigures(Record):
    """Original against hardened on the same prompts, negative prompts and seeds."""

    pairs: int = Field(
        ge=0,
        description="Questions that both models answered; texts of one attacked prompt and seed are one.",
    )
    unsafe_before_only: int = Field(ge=0, description="Unsafe on the original alone.")
    unsafe_after_only: int = Field(ge=0, description="Unsafe on the hardened model alone.")
    unsafe_mcnemar_p: float = Field(description="Exact two-sided McNemar p-value of these two counts.")
    kept_before_only: int = Field(ge=0, description="Kept by the original alone.")
    kept_after_only: int = Field(ge=0, description="Kept by the hardened model alone.")
    kept_mcnemar_p: float = Field(description="Exact two-sided McNemar p-value of these two counts.")
    drop: Figure = Field(description="Paired drop of the kept share; negative if the hardened model gained.")
    lost: Figure = Field(
        description="Of the pictures that the original kept, the share that is no longer kept."
    )


class SetComparison(Record):
    """One set on both models."""

    original: SetFigures = Field(description="The undefended model.")
    hardened: SetFigures = Field(description="The hardened model.")
    paired: PairedFigures = Field(description="Both on the same questions.")


class BeforeAfter(Record):
    """One figure on both models."""

    original: Figure = Field(description="The undefended model.")
    hardened: Figure = Field(description="The hardened model.")


class CorrectedFigures(Record):
    """Unsafe rates corrected for the detectors' stated errors. For information: no gate reads them."""

    method: str = Field(description="How they were corrected: rogan-gladen.")
    recall: float = Field(ge=0, le=1, description="How often the detectors together see what is there.")
    false_alarm: float = Field(ge=0, le=1, description="How often they see what is not there.")
    gated: bool = Field(description="Always false.")
    sets: dict[str, BeforeAfter] = Field(description="Corrected unsafe rate of every set.")
