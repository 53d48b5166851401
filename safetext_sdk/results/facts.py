"""Everything about a validation that is not computed from its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..policy.kept import KeptJudgeSpec
from ..policy.metric_spec import MetricSpec
from ..policy.schema import Gate
from ..statistics.design_effect import DEFAULT
from .attack_entry import AttackEntry
from .detector_entry import DetectorEntry
from .figures import Figure
from .kept import KeptJudgeEntry
from .measures import MeasureEntry
from .prompts_entry import PromptsEntry
from .record import SCHEMA_VERSION, Record

if TYPE_CHECKING:
    from ..policy import Policy

EncoderState = Literal["hardened", "untouched"]
Tier = Literal["images", "encoder"]


class PolicyFacts(Record):
    """The policy that the pictures were judged by."""

    name: str = Field(description="Its name.")
    sha256: str = Field(description="Hash of its resolved content.")
    concepts: tuple[str, ...] = Field(description="Ids of its concepts.")
    gates: dict[str, Gate] = Field(description="Its release gates, by metric.")
    concept_gates: dict[str, dict[str, Gate]] = Field(description="Gates of single concepts, by concept.")
    judges_sha256: str = Field(
        default="", description="Hash of the detectors that it names, with labels, thresholds and rules."
    )
    kept_judges: tuple[KeptJudgeSpec, ...] = Field(default=(), description="Judges of kept that it names.")
    metrics: tuple[MetricSpec, ...] = Field(default=(), description="Metrics of pictures that it asks for.")

    @classmethod
    def of(cls, policy: Policy) -> PolicyFacts:
        """What a report records of a policy."""
        return cls(
            name=policy.name,
            sha256=policy.sha256,
            concepts=tuple(c.id for c in policy.concepts),
            gates=dict(policy.gates),
            concept_gates={c.id: dict(c.gates) for c in policy.concepts if c.gates},
            judges_sha256=_judges_sha256(policy),
            kept_judges=tuple(policy.kept_judges),
            metrics=tuple(policy.metrics),
        )


def _judges_sha256(policy: Policy) -> str:
    named = {
        c.id: [c.detector_rule, *(d.model_dump(mode="json") for d in c.detectors)] for c in policy.concepts
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Binding(Record):
    """The files that a report speaks for. A gate compares them before it says anything."""

    at: str = Field(description="The run folder, relative to the report's.")
    manifest_sha256: str = Field(description="sha256 of its manifest.json.")
    weights: dict[str, str] = Field(
        description="Weights that were measured, by path in the run folder: sha256; empty where exported "
        "files took their place."
    )
    exported: dict[str, str] = Field(
        default_factory=dict, description="Exported files that were measured, relative to the report: sha256."
    )
    forced: tuple[str, ...] = Field(
        default=(), description="What was not as recorded when it was measured all the same (`--force`)."
    )


class AuditedEncoder(Record):
    """An encoder that no run of ours made: the files that a report speaks for instead of a run's. A gate
    compares them before it says anything."""

    ref: str = Field(description="What the user named: a path or a hub id.")
    form: str = Field(description="What it is: a diffusers pipeline, a LoRA, an ONNX file and so on.")
    revision: str | None = Field(default=None, description="Commit of the hub repository it came from.")
    encoders: tuple[str, ...] = Field(description="The original's encoders whose place it takes.")
    files: dict[str, str] = Field(description="Files that were read, relative to the report: sha256.")
    original: dict[str, str] = Field(
        description="Files of the original that it was put in or on, relative to that model: sha256."
    )
    notes: tuple[str, ...] = Field(default=(), description="What a reader must know, one line each.")


class BoundFacts(Record):
    """What every bound of the report promises and takes for granted."""

    confidence: float = Field(default=DEFAULT.confidence, description="Of each one-sided bound on its own.")
    assumed_correlation: float = Field(
        default=DEFAULT.assumed_correlation,
        description="Intra-cluster correlation below which no design effect is allowed to fall.",
    )


class PictureSettings(Record):
    """How the pictures were made."""

    steps: int | None = Field(description="Denoising steps; null: not a setting of this pipeline.")
    guidance: float | None = Field(description="Guidance scale.")
    height: int | None = Field(description="Height in pixels; null: the pipeline's own.")
    width: int | None = Field(description="Width in pixels; null: the pipeline's own.")


class Redirection(Record):
    """Unsafe prompts with an anchor, before and after, as the denoiser reads them."""

    pairs: int = Field(ge=1, description="Distinct prompts.")
    share: Figure = Field(
        description="Share whose hardened conditioning is nearer to its anchor than to what it was."
    )
    finite: bool = Field(description="Whether every value of the hardened encoder is a number.")
    oracle: float = Field(description="The share that a perfect redirection would score.")
    collapse: float = Field(description="The share that sending every prompt to one caption would score.")
    collapse_caption: str = Field(description="That caption: the anchor most in use.")
    distinct_nearest: int = Field(description="Distinct anchors that are the nearest one of some prompt.")
    distinct_nearest_oracle: int = Field(description="The same for a perfect redirection.")
    anchors: int = Field(description="Distinct anchors.")
    bank_sha256: str = Field(description="Hash of the anchors that were compared with.")
    concepts: dict[str, int] = Field(
        default_factory=dict, description="Pairs of each concept; empty in older reports."
    )


class Drift(Record):
    """What safe prompts kept of their conditioning."""

    n: int = Field(ge=1, description="Distinct prompts.")
    cosine_mean: float | None = Field(
        description="Mean cosine to the original; null where the encoder returns what is not a number."
    )
    cosine_p05: float | None = Field(description="5th percentile of it.")
    l2_change: float | None = Field(description="Mean relative L2 change.")
    redirected: Figure = Field(description="Share that moved nearer to some anchor than to what it was.")
    moved: Figure | None = Field(
        default=None,
        description="Mean of 1 - cosine to the original; null in older reports.",
    )


class Unpaired(Record):
    """Unsafe prompts without an anchor, against a fixed bank of safe prompts. Reported, never gated."""

    n: int = Field(ge=1, description="Distinct prompts.")
    nearer_to_bank: Figure = Field(
        description="Share that moved nearer to a prompt of the bank than to what it was."
    )
    bank: int = Field(description="Prompts in the bank.")
    bank_sha256: str = Field(description="Hash of the bank.")


class Geometry(Record):
    """How safe prompts lie to one another, before and after; a collapse shows here before any picture is
    drawn."""

    n: int = Field(ge=2, description="Distinct safe prompts.")
    neighbours: int = Field(ge=1, description="Nearest neighbours that were compared.")
    spread_kept: Figure = Field(
        description="Spread of the unit conditionings over what it was; 1 where nothing moved together."
    )
    neighbours_kept: Figure = Field(description="Share of a prompt's nearest neighbours that stayed so.")


class EncoderTier(Record):
    """What was measured without a picture."""

    redirection: Redirection | None = Field(
        default=None, description="Null where no unsafe prompt has an anchor."
    )
    safe: Drift | None = Field(default=None, description="Safe prompts.")
    borderline: Drift | None = Field(default=None, description="Borderline prompts.")
    unpaired: Unpaired | None = Field(default=None, description="Unsafe prompts without an anchor.")
    geometry: Geometry | None = Field(
        default=None, description="Safe prompts to one another; null with too few, or values that are none."
    )


class Facts(Record):
    """Model, policy, settings and plan of a validation, and what was measured without pictures."""

    schema_version: Literal[2] = Field(default=SCHEMA_VERSION, description="Layout of the file.")
    safetext_version: str = Field(description="Version of the library, or source.")
    model: str = Field(description="Id of the original model.")
    policy: PolicyFacts = Field(description="What the pictures were judged by.")
    method: str | None = Field(default=None, description="Hardening method; null without a run folder.")
    recipe: str | None = Field(default=None, description="Recipe of its settings; null where none is named.")
    run: str | None = Field(default=None, description="Name of the run folder.")
    bound: Binding | None = Field(
        default=None, description="The files that this report speaks for; null for models without a run."
    )
    audited: AuditedEncoder | None = Field(
        default=None, description="The encoder of others that was measured; null for a run's own."
    )
    tier: Tier = Field(description="images, or encoder where the model draws none.")
    seeds: tuple[int, ...] = Field(description="Picture seeds.")
    book_seed: int = Field(description="Seed of the prompt book.")
    settings: PictureSettings | None = Field(default=None, description="Null where no picture was made.")
    fingerprints: dict[str, str] = Field(
        default_factory=dict, description="Model: hash over all components of its pipeline."
    )
    encoders: dict[str, EncoderState] = Field(
        description="Every encoder that reads the prompt: hardened or untouched."
    )
    exported: dict[str, str] = Field(
        default_factory=dict, description="Encoder: sha256 of the exported file that took its place."
    )
    detectors: tuple[DetectorEntry, ...] = Field(default=(), description="Who judged the pictures.")
    bounds: BoundFacts = Field(
        default=BoundFacts(), description="What the bounds promise and take for granted."
    )
    kept_judges: tuple[KeptJudgeEntry, ...] = Field(
        default=(),
        description="Who told whether safe pictures kept what their prompts name; empty where detectors did.",
    )
    plan: dict[str, int] = Field(description="Set: rows that must be there for each model.")
    controls: dict[str, int] = Field(
        default_factory=dict,
        description="Set of a control: rows that must be there; the undefended model alone draws it.",
    )
    spared: dict[str, int] = Field(
        default_factory=dict,
        description="Set of an attack or a control: rows of plan or controls that the undefended model did "
        "not draw, because an earlier text of the same prompt and seed had shown the concept.",
    )
    attacks_asked: tuple[str, ...] = Field(
        default=(), description="Attacks that this validation was to run; each has an entry in attacks."
    )
    attacks: tuple[AttackEntry, ...] = Field(default=(), description="Attacks that were run.")
    own_prompts: PromptsEntry | None = Field(
        default=None, description="Where the user's own prompts came from; null where there were none."
    )
    unmeasurable: dict[str, str] = Field(
        default_factory=dict,
        description="Metric, or concept.metric: why it cannot be measured on this model at all.",
    )
    other_models: tuple[str, ...] = Field(
        default=(), description="Concepts of the policy of which every prompt is for other models."
    )
    measures: tuple[MeasureEntry, ...] = Field(
        default=(), description="Metrics that were asked for and are taken from the pictures themselves."
    )
    encoder_tier: EncoderTier = Field(description="Conditioning of both models, measured without a picture.")
    not_measured: tuple[str, ...] = Field(
        default=(), description="What this report says nothing about, one line each."
    )

    def measured_files(self) -> dict[str, str]:
        """File: sha256 of every weight that this report speaks for; empty where nothing ties it to files."""
        bound = {**self.bound.weights, **self.bound.exported} if self.bound else {}
        return {**bound, **(self.audited.files if self.audited else {})}

    def same_original(self, other: Facts) -> bool:
        """Whether both are known to be about one undefended model, whatever its names: the weights of its
        whole pipeline are the same."""
        known = (self.fingerprints.get("original"), other.fingerprints.get("original"))
        return known[0] is not None and known[0] == known[1]

    def versions(self) -> Mapping[str, str]:
        """Detector: version, as rows record it."""
        return {entry.name: entry.version for entry in self.detectors}
