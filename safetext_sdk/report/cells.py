"""Figures of a summary as people read them; shared by the terminal, markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..metrics import METRICS, SHARE, Unit
from ..results.attack_entry import AttackEntry
from ..results.attack_figures import AttackFigures
from ..results.detector_entry import DetectorEntry
from ..results.figures import Figure
from ..results.summary import UNSIGNED, GateResult, Summary

MEANING = {
    "unsafe": "held-out unsafe prompts",
    "safe": "safe prompts",
    "safe_unseen": "safe concepts that hardening never saw",
    "borderline": "safe prompts that look unsafe",
    "negative": "safe prompts, unsafe words in the negative prompt",
    "negative_unsafe": "unsafe prompts, unsafe words in the negative prompt",
    "custom:unsafe": "your prompts labelled unsafe",
    "custom:safe": "your prompts labelled safe",
    "custom:borderline": "your prompts labelled borderline",
}
NONE = "–"


@dataclass(frozen=True)
class SetCells:
    """One set of prompts: the undefended model beside the hardened one."""

    name: str
    meaning: str
    prompts: str
    unsafe_before: str
    unsafe_after: str
    kept_before: str
    kept_after: str
    drop: str
    anchor: str
    change: str


@dataclass(frozen=True)
class AttackCells:
    """One attack: its strength on the undefended model beside its figure, the control, and what it cost."""

    name: str
    threat: str
    before: str
    after: str
    any_seed: str
    """With any of the picture seeds, before and after; a dash where there is one seed."""
    control: str
    counts: str
    cost: str
    seeds: str
    note: str
    """What the control says; empty where it says nothing."""


@dataclass(frozen=True)
class MetricCells:
    """One registered metric."""

    name: str
    title: str
    value: str
    original: str


@dataclass(frozen=True)
class DetectorCells:
    """Who judged: one detector and concept."""

    concept: str
    name: str
    version: str
    labels: str
    threshold: str
    rule: str
    errors: str


def unit_of(metric: str | None) -> Unit:
    """How a metric's figures are written; shares where there is no metric."""
    return METRICS.get(metric).unit if metric is not None and metric in METRICS.names() else SHARE


def share(figure: Figure | None) -> str:
    """ "3.1 % (1.2–6.0, n = 100)": the point, both one-sided 95 % bounds, and what they rest on."""
    return NONE if figure is None else SHARE.bounds(figure.value, figure.lower, figure.upper, figure.n)


def gate_cell(gate: GateResult) -> str:
    """The figure of a gate, in the unit of its metric."""
    return unit_of(gate.metric).bounds(gate.value, gate.lower, gate.upper, gate.n) if gate.metric else NONE


def gate_original(gate: GateResult) -> str:
    """The undefended model's figure of a gate."""
    return unit_of(gate.metric).write(gate.original)


def verdict_word(summary: Summary) -> str:
    """The verdict as a headline; it says so where only partial gates decided."""
    if summary.verdict is None:
        return "no verdict yet"
    return summary.decision.word(summary.verdict) if summary.decision else summary.verdict


def decision_lines(summary: Summary) -> list[str]:
    """Who decided, what was allowed, and whether the report is signed."""
    return summary.decision.lines() if summary.decision else [UNSIGNED]


def set_cells(summary: Summary) -> list[SetCells]:
    """One row a set."""
    attacks = {attack.name for attack in summary.attacks}
    out = []
    for name, found in summary.sets.items():
        before, after = found.original, found.hardened
        default = f"unsafe prompts under the attack {name}" if name in attacks else name
        change = after.change
        out.append(
            SetCells(
                name=name,
                meaning=MEANING.get(name, default),
                prompts=str(after.prompts),
                unsafe_before=share(before.unsafe),
                unsafe_after=share(after.unsafe),
                kept_before=share(before.kept),
                kept_after=share(after.kept),
                drop=share(found.paired.drop),
                anchor=share(after.anchor_shown),
                change=f"{change.mean_abs.mean:.3f} (SSIM {change.ssim.mean:.3f})" if change else NONE,
            )
        )
    return out


ATTACK_HEAD = (
    "attack",
    "attacker has",
    "unsafe, undefended",
    "unsafe, hardened",
    "with any seed, undefended to hardened",
    "control: anchor in its place, undefended",
    "does it count",
    "cost",
    "seeds",
)
ATTACK_NOTE = (
    "A prompt counts once, and any of its attacked texts breaks it. An attack that is too weak on the "
    "undefended model proves nothing about the hardened one. The control is the attacked text with the "
    "anchor in the place of the unsafe prompt, drawn by the undefended model: an attack whose control is as "
    "high as its figure says little about the hardening. Controls are never gated."
)
NOT_HELD = "none: the attacked texts no longer hold the prompt"
PROBE = "none: it changes the model and not the words"


def attack_cells(summary: Summary) -> list[AttackCells]:
    """One row an attack, those that could not be run included."""
    entries = {entry.name: entry for entry in summary.attacks}
    return [_attack(found, entries[found.name], summary) for found in summary.attack_figures]


def _attack(found: AttackFigures, entry: AttackEntry, summary: Summary) -> AttackCells:
    ran = entry.impossible is None
    many = found.any_seed
    own = f", attack seed {entry.settings['seed']}" if "seed" in entry.settings else ""
    cost = (
        f"{entry.prompts} prompts, {entry.queries} queries, {entry.forward_passes} forward passes, "
        f"{entry.seconds:.1f} s"
    )
    return AttackCells(
        name=found.name,
        threat=found.threat,
        before=share(found.original),
        after=share(found.hardened),
        any_seed=f"{share(many.original)} to {share(many.hardened)}" if ran and many else NONE,
        control=_control(found) if ran else NONE,
        counts=found.why,
        cost=cost if ran else NONE,
        seeds=f"pictures {', '.join(map(str, summary.seeds))}{own}" if ran else NONE,
        note=found.control_note or "",
    )


def _control(found: AttackFigures) -> str:
    if found.control is not None:
        return share(found.control)
    return PROBE if found.threat == "probe" else NOT_HELD


def attack_notes(summary: Summary) -> list[str]:
    """What stands below the table of attacks; empty where there is none."""
    rows = attack_cells(summary)
    return [ATTACK_NOTE, *(f"{row.name}: {row.note}." for row in rows if row.note)] if rows else []


def metric_notes(summary: Summary) -> list[str]:
    """What must be said beside metrics of pictures: the extractor's set, standard errors, small samples."""
    return [f"{entry.name}: {note}." for entry in summary.measures for note in entry.notes]


def metric_cells(summary: Summary) -> list[MetricCells]:
    """Every registered metric that was measured, and those that were asked for and could not be."""
    out = []
    absent = {entry.name: entry.not_measured for entry in summary.measures if entry.not_measured}
    for name, found in summary.metrics.items():
        if name in absent:
            out.append(MetricCells(name, found.title, f"not measured: {absent[name]}", NONE))
        if found.n:
            unit = unit_of(name)
            value = unit.bounds(found.value, found.lower, found.upper, found.n)
            out.append(MetricCells(name, found.title, value, unit.write(found.original)))
    return out


def encoder_cells(summary: Summary) -> list[tuple[str, str]]:
    """The encoder tier as (figure, value)."""
    return list(_encoder_cells(summary))


def _encoder_cells(summary: Summary) -> Iterator[tuple[str, str]]:
    tier = summary.encoder_tier
    if found := tier.redirection:
        yield "redirected share", share(found.share)
        yield "oracle (a perfect redirection)", SHARE.write(found.oracle)
        # A yardstick and no finding: worded so that 100 % does not read as "this encoder collapsed".
        yield (
            "for comparison: an encoder that sent all prompts to one caption would score",
            SHARE.write(found.collapse),
        )
        distinct = f"{found.distinct_nearest} of {found.anchors}; perfect {found.distinct_nearest_oracle}"
        yield "whether this one collapsed: distinct anchors that are the nearest of some prompt", distinct
    for name, drift in (("safe", tier.safe), ("borderline", tier.borderline)):
        if drift:
            mean, low = (NONE if x is None else f"{x:.3f}" for x in (drift.cosine_mean, drift.cosine_p05))
            spread = f"mean {mean}, 5th percentile {low} (n = {drift.n})"
            yield f"cosine kept on {name} prompts", spread
            yield f"{name} prompts nearer to an anchor than to themselves", share(drift.redirected)
    if alone := tier.unpaired:
        bank = f"bank {alone.bank_sha256[:12]}, not gated"
        name = f"unsafe prompts without an anchor, nearer to one of {alone.bank} safe prompts ({bank})"
        yield name, share(alone.nearer_to_bank)


def corrected_cells(summary: Summary) -> list[tuple[str, str, str]]:
    """Unsafe rates corrected for the detectors' stated errors: set, undefended, hardened; empty where a
    detector states none."""
    if summary.corrected is None:
        return []
    return [(name, share(f.original), share(f.hardened)) for name, f in summary.corrected.sets.items()]


def corrected_note(summary: Summary) -> str:
    """What the corrected rates rest on; empty where there are none."""
    found = summary.corrected
    if found is None:
        return ""
    return (
        f"Corrected for detector error (Rogan-Gladen, all detectors: recall {SHARE.write(found.recall)}, "
        f"false alarms {SHARE.write(found.false_alarm)}, taken as exact and independent). They rest on these "
        "stated error rates, which nobody measured on these pictures. For information: gates use the raw "
        "figures."
    )


KEPT_MEANS = {
    "clip-r-precision": "the picture's own caption ranks first among {others} others",
    "another-seed": "the picture moved less than another seed of the original moves it",
}


def kept_note(summary: Summary) -> str:
    """Who told whether safe pictures kept what their prompts name; empty where detectors did, or nobody."""
    told = [
        f"{judge.name} {judge.version}" + (f" ({means.format(**judge.settings)})" if means else "")
        for judge in summary.kept_judges
        for means in (KEPT_MEANS.get(judge.name, ""),)
    ]
    together = "; all of them must say so" if len(told) > 1 else ""
    return f"Kept is told by {', and '.join(told)}{together}." if told else ""


def audit_line(summary: Summary) -> str:
    """What was audited; empty where a run of ours was measured."""
    found = summary.audited
    if found is None:
        return ""
    commit = f", commit {found.revision[:12]}" if found.revision else ""
    return f"an audit of {found.ref} ({found.form}{commit}), which no run of SafeText made"


def detector_cells(summary: Summary) -> list[DetectorCells]:
    """Who judged: one row a detector and concept, with error rates where they are stated."""
    return [_detector(entry) for entry in summary.detectors]


def _detector(entry: DetectorEntry) -> DetectorCells:
    stated = ", ".join(
        f"{k.replace('_', ' ')} {SHARE.write(v)}" for k, v in (entry.error_rates or {}).items()
    )
    rule = "one detector is enough" if entry.rule == "any" else "all detectors must agree"
    return DetectorCells(
        concept=entry.concept,
        name=entry.name,
        version=entry.version,
        labels=", ".join(entry.labels),
        threshold=f"{entry.threshold:g}",
        rule=rule,
        errors=stated or "not stated",
    )
