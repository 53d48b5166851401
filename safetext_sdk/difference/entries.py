"""``difference.json`` as frozen types. A is the report named first, B the second; a difference is B - A."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from ..results.facts import Tier
from ..results.record import Record
from ..results.summary import VerdictWord

SCHEMA_VERSION: Final = 1
CONFIDENCE: Final = 0.95
"""Of the two bounds of a difference together."""
Direction = Literal["better", "worse", "noise", "unknown"]
GateWord = VerdictWord | Literal["left out"]


class Change(Record):
    """How far a figure moved from A to B.

    ``direction`` is better or worse only where that is beyond noise: with ``paired``, where both bounds lie
    on one side of 0; else where the 95 % bounds of the two figures do not overlap.
    """

    paired: bool = Field(description="Whether it was taken on the same prompts and seeds.")
    direction: Direction = Field(description="Beyond noise better or worse; noise; unknown: not measured.")
    value: float | None = Field(default=None, description="B - A: on the common prompts and seeds if paired.")
    lower: float | None = Field(default=None, description="Lower end of its 95 % interval; null if unpaired.")
    upper: float | None = Field(default=None, description="Upper end of it.")
    pairs: int = Field(default=0, ge=0, description="Prompts and seeds that both answered.")
    became_better: int = Field(default=0, ge=0, description="Of these: wrong in A, right in B.")
    became_worse: int = Field(default=0, ge=0, description="Right in A, wrong in B.")
    mcnemar_p: float | None = Field(
        default=None, description="Exact two-sided McNemar p-value of these two counts; knows no clusters."
    )
    note: str = Field(default="", description="Why it is not paired, or what it is of; may be empty.")


class GateSide(Record):
    """One gate in one report, as its verdict recorded it."""

    verdict: GateWord = Field(description="pass, fail, inconclusive or left out.")
    value: float | None = Field(default=None, description="The figure; null where nothing was measured.")
    lower: float | None = Field(default=None, description="Its one-sided 95 % lower bound.")
    upper: float | None = Field(default=None, description="Its one-sided 95 % upper bound.")
    n: int = Field(default=0, ge=0, description="Outcomes that it rests on.")
    threshold: float | None = Field(default=None, description="What the policy asks for.")
    set: str = Field(default="", description="The set that the figure is of, where the metric reads sets.")


class GateChange(Record):
    """One gate in both reports."""

    name: str = Field(description="Metric, concept.metric, or a check that always runs.")
    metric: str | None = Field(default=None, description="Name of the metric; null for a check.")
    side: Literal["max", "min"] | None = Field(default=None, description="Which side the threshold is on.")
    a: GateSide | None = Field(description="Null where A has no such gate.")
    b: GateSide | None = Field(description="Null where B has no such gate.")
    change: Change | None = Field(default=None, description="Null for a check, or where one side is missing.")


class SetChange(Record):
    """One yes/no question about the pictures of a set, on the prompts and seeds that both answered."""

    set: str = Field(description="The set, as tables list it.")
    what: Literal["unsafe", "kept", "anchor_shown"] = Field(description="The question.")
    a: float = Field(description="Share in A.")
    b: float = Field(description="Share in B.")
    change: Change = Field(description="B - A.")


class Flip(Record):
    """One prompt and seed that came out otherwise."""

    set: str = Field(description="The set, as tables list it.")
    outcome: str = Field(description="What became of it.")
    concept: str | None = Field(description="The concept that an unsafe prompt asks for.")
    prompt: str = Field(description="The prompt; under an attack the one that it began from.")
    seed: int = Field(description="Seed of the picture.")
    image_a: str = Field(description="The picture of A, relative to its report folder.")
    image_b: str = Field(description="The picture of B, relative to its report folder.")


class Setting(Record):
    """A setting that is not the same."""

    name: str = Field(description="Dotted; `run.` is the hardening's, `policy.` the policy's.")
    a: JsonValue = Field(description="In A; null where it has none.")
    b: JsonValue = Field(description="In B; null where it has none.")


class Side(Record):
    """One of the two reports."""

    name: str = Field(description="Run folder or report folder, as it was named.")
    verdict: VerdictWord | None = Field(description="As recorded; null before a gate has spoken.")
    word: str = Field(description="The verdict as a headline.")
    policy_sha256: str = Field(description="Hash of the policy that the pictures were judged by.")
    results_sha256: str = Field(description="Hash of its rows.")
    weights: dict[str, str] = Field(description="Measured file: sha256; empty where no files are known.")


class Difference(Record):
    """``difference.json``."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Layout of the file.")
    safetext_version: str = Field(description="Version of the library that compared.")
    model: str = Field(description="Id of the undefended model.")
    policy: str = Field(description="Name of the policy of A.")
    tier: Tier = Field(description="images, or encoder where the model draws none.")
    confidence: float = Field(default=CONFIDENCE, description="Of the interval of every paired difference.")
    a: Side = Field(description="The report named first.")
    b: Side = Field(description="The report named second.")
    not_compared: tuple[str, ...] = Field(
        default=(), description="What the two do not say about each other, one line each."
    )
    common: dict[str, int] = Field(description="Set: prompts and seeds that both answered.")
    undefended: dict[str, int] = Field(
        default_factory=dict,
        description="Of the undefended model's common pictures: how many (pictures), and how many were "
        "judged otherwise (otherwise): the noise of drawing and judging.",
    )
    gates: tuple[GateChange, ...] = Field(description="Every gate of either report.")
    sets: tuple[SetChange, ...] = Field(description="Every set that both drew.")
    flips: tuple[Flip, ...] = Field(description="Every prompt and seed that came out otherwise, worst first.")
    settings: tuple[Setting, ...] = Field(description="Settings that differ.")
    weights: tuple[Setting, ...] = Field(description="Files of the hardened encoders that differ: sha256.")

    def changed(self, direction: Direction) -> tuple[str, ...]:
        """Names of the gates whose figure moved that way."""
        return tuple(g.name for g in self.gates if g.change and g.change.direction == direction)
