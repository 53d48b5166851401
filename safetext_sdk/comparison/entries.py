"""A comparison as frozen types, and how an entry is read off a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, JsonValue

from ..metrics.summary import summarise
from ..results.facts import Tier
from ..results.figures import Figure
from ..results.judge_profile import JudgedBy, judged_by
from ..results.record import Record
from ..results.report import Report
from ..results.summary import PASS, Summary, VerdictWord
from ..verdict.decision import Verdict

SCHEMA_VERSION: Final = 1
Kind = Literal["run", "model", "baseline"]


class Cost(Record):
    """What a defence costs, in seconds on this machine."""

    learning: float | None = Field(
        default=None, description="Making it, once: fitting or fine-tuning; null where no record tells."
    )
    picture: float | None = Field(
        default=None, description="One picture, in a batch of two; null on the encoder tier."
    )


class EntryFigures(Record):
    """Figures of one entry, each with its one-sided 95 % bounds; null where nothing was measured."""

    unsafe: Figure | None = Field(default=None, description="Unsafe share of plain unsafe prompts.")
    attacks: dict[str, Figure] = Field(
        default_factory=dict, description="Unsafe share under each attack; any text of a prompt counts."
    )
    worst: Figure | None = Field(
        default=None, description="The worst of these, gated attacks alone, by its upper bound."
    )
    kept: Figure | None = Field(default=None, description="Safe pictures that show all their prompts name.")
    kept_drop: Figure | None = Field(default=None, description="Paired drop of it against the original.")
    unseen_kept: Figure | None = Field(default=None, description="Kept, on concepts that no training saw.")
    unseen_kept_drop: Figure | None = Field(default=None, description="Paired drop of that.")
    over_refusal: Figure | None = Field(default=None, description="Borderline prompts that are redirected.")
    anchor_shown: Figure | None = Field(
        default=None, description="Unsafe prompts whose picture is the anchor's."
    )
    redirected: Figure | None = Field(
        default=None,
        description="Unsafe prompts whose conditioning is nearer to the anchor's than to their own.",
    )
    cosine_kept: float | None = Field(
        default=None, description="Mean cosine of safe prompts' conditioning to the original's."
    )
    change: float | None = Field(
        default=None, description="Mean absolute change of safe pictures at equal seeds, 0 to 1."
    )
    removed: float | None = Field(
        default=None, description="NRR: 1 - unsafe rate / the original's; null where the original has none."
    )


class ComparedEntry(Record):
    """One row of the table."""

    name: str = Field(description="As the table calls it.")
    kind: Kind = Field(description="run: hardened here; model: any other encoder; baseline.")
    detail: str = Field(default="", description="Method and recipe of a run; source of a baseline.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="Of a baseline, defaults included."
    )
    impossible: str | None = Field(default=None, description="Why this model cannot have it.")
    report: str | None = Field(default=None, description="Its report folder, relative to the comparison's.")
    reused: bool = Field(default=False, description="Whether that report was there and was read.")
    note: str = Field(default="", description="One line that a reader must know.")
    verdict: VerdictWord | None = Field(
        default=None, description="Of the policy's gates; null for a baseline, which no gate releases."
    )
    gates: int = Field(default=0, ge=0, description="Gates of the policy on figures.")
    gates_held: int = Field(default=0, ge=0, description="Those of them that pass.")
    cost: Cost = Field(default=Cost(), description="What it costs.")
    figures: EntryFigures = Field(default=EntryFigures(), description="What was measured.")


class Comparison(Record):
    """``comparison.json``."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Layout of the file.")
    safetext_version: str = Field(description="Version of the library.")
    model: str = Field(description="Id of the undefended model.")
    policy: str = Field(description="Name of the policy that all are judged by.")
    policy_sha256: str = Field(description="Hash of its resolved content.")
    tier: Tier = Field(description="images, or encoder where the model draws none.")
    seeds: tuple[int, ...] = Field(description="Picture seeds.")
    book_seed: int = Field(description="Seed of the prompt book.")
    plan: dict[str, int] = Field(default_factory=dict, description="Set: questions that every entry answers.")
    attacks: tuple[str, ...] = Field(default=(), description="Attacks that were run.")
    detectors: dict[str, str] = Field(default_factory=dict, description="Who judged: name and version.")
    judge_profile: JudgedBy | None = Field(
        default=None, description="How the pictures behind every rate were judged; null where none was."
    )
    entries: tuple[ComparedEntry, ...] = Field(description="The undefended model first, if it was asked for.")


def figures_of(report: Report, summary: Summary) -> EntryFigures:
    """An entry's figures from its report's summary."""
    sets, tier = summary.sets, summary.encoder_tier
    gated = [attack.name for attack in summary.attacks if attack.gated]
    attacks = {a.name: sets[a.name].hardened.unsafe for a in summary.attacks if a.name in sets}
    unsafe = sets["unsafe"].hardened.unsafe if "unsafe" in sets else None
    plain = [unsafe] if unsafe is not None else []
    known = [f for f in (*plain, *(attacks[name] for name in gated if name in attacks)) if f.n]
    before = sets["unsafe"].original.unsafe.value if "unsafe" in sets else None
    after = unsafe.value if unsafe is not None else None
    change = sets["safe"].hardened.change if "safe" in sets else None
    return EntryFigures(
        unsafe=_there(unsafe),
        attacks=attacks,
        worst=max(known, key=lambda f: (f.upper or 0.0, f.value or 0.0), default=None),
        kept=_there(sets["safe"].hardened.kept) if "safe" in sets else None,
        kept_drop=_metric(summary, "kept_drop"),
        unseen_kept=_there(sets["safe_unseen"].hardened.kept) if "safe_unseen" in sets else None,
        unseen_kept_drop=_metric(summary, "unseen_kept_drop"),
        over_refusal=_metric(summary, "over_refusal"),
        anchor_shown=_metric(summary, "anchor_shown"),
        redirected=tier.redirection.share if tier.redirection else None,
        cosine_kept=tier.safe.cosine_mean if tier.safe else None,
        change=change.mean_abs.mean if change else None,
        removed=round(1 - after / before, 5) if before and after is not None else None,
    )


def _there(figure: Figure | None) -> Figure | None:
    return figure if figure is not None and figure.n else None


def _metric(summary: Summary, name: str) -> Figure | None:
    found = summary.metrics.get(name)
    if found is None or not found.n:
        return None
    return Figure(**{field: getattr(found, field) for field in Figure.model_fields})


def entry_of(report: Report, verdict: Verdict, /, **known: Any) -> ComparedEntry:
    """A row from a report and what the gates say of it.

    Args:
        known: fields of `ComparedEntry` that no report tells.
    """
    summary = summarise(report, verdict.gates, verdict.verdict, verdict.decision, verdict.left_out)
    gates = [gate for gate in verdict.gates if gate.metric is not None]
    return ComparedEntry(
        **known,
        verdict=verdict.verdict if known["kind"] != "baseline" else None,
        gates=len(gates),
        gates_held=sum(gate.verdict == PASS for gate in gates),
        figures=figures_of(report, summary),
    )


def common_facts(report: Report) -> Mapping[str, Any]:
    """Fields of `Comparison` that are the same for all entries, from one report."""
    facts = report.facts
    return {
        "model": facts.model,
        "policy": facts.policy.name,
        "policy_sha256": facts.policy.sha256,
        "tier": facts.tier,
        "seeds": facts.seeds,
        "book_seed": facts.book_seed,
        "plan": {k: v for k, v in facts.plan.items() if k not in {a.name for a in facts.attacks}},
        "attacks": tuple(a.name for a in facts.attacks),
        "detectors": {d.name: d.version for d in facts.detectors},
        "judge_profile": judged_by(facts),
    }
