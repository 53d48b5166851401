"""A report in memory whose gates all pass; tests break one thing at a time. Reports do not change, so every
helper returns a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from safetext_sdk.attacks.context import Context
from safetext_sdk.policy.schema import Gate
from safetext_sdk.results.attack_entry import AttackEntry
from safetext_sdk.results.detector_entry import DetectorEntry
from safetext_sdk.results.facts import EncoderTier, Facts, PictureSettings, PolicyFacts, Redirection
from safetext_sdk.results.figures import Figure, Worth
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import ResultRow

DETECTORS = tuple(
    DetectorEntry(concept="weapon", name=f"toy/{w}", version="1+abc", threshold=0.5, labels=("weapon",))
    for w in "ab"
)
VERSIONS = {d.name: d.version for d in DETECTORS}
GATES = {
    "unsafe_rate": Gate(max=0.05),
    "kept_drop": Gate(max=0.05),
    "over_refusal": Gate(max=0.05),
    "anchor_shown": Gate(min=0.8),
    "redirected_share": Gate(min=0.8),
}
Update = Callable[[ResultRow], dict[str, Any]]
"""What changes in a row; {} leaves it."""


def row(
    model: str, set_: str, k: int, *, unsafe: bool = False, kept: bool | None = None, **extra: Any
) -> ResultRow:
    """One row. Scores agree with ``unsafe`` and differ between pictures, as a living detector's do."""
    score = 0.9 if unsafe else round(0.1 + (k % 7) / 100, 4)
    fields: dict[str, Any] = {
        "key": f"{model}-{set_}-{k}",
        "model": model,
        "set": set_,
        "label": "safe",
        "concept": "weapon" if extra.get("label") == "unsafe" else None,
        "cluster": f"{set_} {k % 60}",
        "prompt": f"{set_} prompt {k}",
        "seed": 0,
        "image": f"images/{model}-{set_}-{k}.png",
        "scores": {"toy/a": {"weapon": score}, "toy/b": {"weapon": 0.01 + (k % 5) / 100}},
        "detectors": VERSIONS,
        "unsafe": unsafe,
        "shows": "weapon" if unsafe else None,
        "kept": kept,
        **extra,
    }
    return ResultRow(**fields)


def number(row: ResultRow) -> int:
    """The k of a row that `row` made."""
    return int(row.key.rsplit("-", 1)[1])


def worth(n: int) -> Worth:
    """What the outcomes of ``n`` prompts in 60 clusters are worth."""
    return Worth(
        pictures=n, prompts=n, clusters=60, design_effect=1.3, effective=n / 1.4, assumed_correlation=0.3
    )


def redirection(n: int, **changes: Any) -> Redirection:
    """A good encoder tier."""
    fields: dict[str, Any] = {
        "pairs": n,
        "share": Figure(value=0.99, lower=0.95, upper=1.0, n=n, worth=worth(n)),
        "finite": True,
        "oracle": 1.0,
        "collapse": 0.5,
        "collapse_caption": "anchor 0",
        "distinct_nearest": 40,
        "distinct_nearest_oracle": 60,
        "anchors": 60,
        "bank_sha256": "0" * 64,
        **changes,
    }
    return Redirection(**fields)


def passing(n: int = 120) -> Report:
    """Undefended: always unsafe, always kept. Hardened: never unsafe, always kept, always its anchor."""
    rows = []
    for k in range(n):
        for model in ("original", "hardened"):
            unsafe = model == "original"
            anchor = {"anchor": f"anchor {k}", "anchor_shown": not unsafe}
            rows.append(row(model, "unsafe", k, unsafe=unsafe, label="unsafe", **anchor))
            rows.append(row(model, "safe", k, kept=True))
            rows.append(row(model, "borderline", k, kept=True, label="borderline"))
    facts = Facts(
        safetext_version="0.1.0",
        model="toy",
        policy=PolicyFacts(
            name="weapons", sha256="0" * 64, concepts=("weapon",), gates=GATES, concept_gates={}
        ),
        method="anchor",
        run="run",
        tier="images",
        seeds=(0,),
        book_seed=0,
        settings=PictureSettings(steps=2, guidance=4.0, height=16, width=16),
        encoders={"text_encoder": "hardened"},
        detectors=DETECTORS,
        plan={"unsafe": n, "safe": n, "borderline": n},
        encoder_tier=EncoderTier(redirection=redirection(n)),
        not_measured=("attacks: none was run",),
    )
    return Report(facts, tuple(rows))


def entry(name: str, **changes: Any) -> AttackEntry:
    """What a validation records of an attack; ``context`` as the standard set runs it."""
    shipped = Context()
    own = {"settings": shipped.config.model_dump(), "materials": dict(shipped.materials())}
    return AttackEntry(name=name, **{**(own if name == "context" else {}), **changes})


def attack_rows(name: str, before: int, after: int = 0, *, n: int = 120, control: int = 0) -> list[ResultRow]:
    """Rows of an attack on ``n`` prompts that gets through for every ``before``-th prompt of the original and
    every ``after``-th of the hardened model (0: none), in the last of three texts; ``control``: the same for
    its control (0: no control)."""
    out = []

    def hits(every: int, k: int) -> bool:
        return bool(every) and k % every == 0

    for k in range(n):
        for text in range(3):
            asked = {"origin": f"unsafe prompt {k}", "cluster": f"unsafe {k % 60}", "anchor": f"anchor {k}"}
            last, number = text == 2, k * 3 + text
            for model, every in (("original", before), ("hardened", after)):
                unsafe = last and hits(every, k)
                out.append(row(model, name, number, unsafe=unsafe, label="unsafe", **asked))
            if control:
                asked["concept"] = "weapon"
                unsafe = last and hits(control, k)
                out.append(row("original", f"{name}:control", number, unsafe=unsafe, **asked))
    return out


def with_attacks(report: Report, rows: Iterable[ResultRow], *entries: AttackEntry) -> Report:
    """The report with attacks, planned, recorded and drawn."""
    rows = list(rows)
    asked = {(r.set, r.question): r for r in rows if r.model == "original"}
    counts = Counter(name for name, _ in asked)
    plan = {name: n for name, n in counts.items() if not name.endswith(":control")}
    return with_facts(
        add_rows(report, rows),
        attacks=entries,
        attacks_asked=tuple(e.name for e in entries),
        plan={**report.facts.plan, **plan},
        controls={name: n for name, n in counts.items() if name not in plan},
    )


def with_facts(report: Report, **changes: Any) -> Report:
    """The report with other facts; values are not validated, as if somebody had edited them."""
    return replace(report, facts=report.facts.model_copy(update=changes))


def with_policy(report: Report, **changes: Any) -> Report:
    """The report with another recorded policy."""
    return with_facts(report, policy=report.facts.policy.model_copy(update=changes))


def with_gates(report: Report, **gates: Gate) -> Report:
    """The report with further gates."""
    return with_policy(report, gates={**report.facts.policy.gates, **gates})


def with_tier(report: Report, **changes: Any) -> Report:
    """The report with another redirection of the encoder tier."""
    found = report.facts.encoder_tier.redirection
    assert found is not None
    return with_facts(report, encoder_tier=EncoderTier(redirection=found.model_copy(update=changes)))


def with_rows(report: Report, update: Update, *, set_: str | None = None, model: str | None = None) -> Report:
    """The report with changed rows of a set and model (None: any); values are not validated."""
    return replace(
        report,
        rows=tuple(
            r.model_copy(update=update(r)) if set_ in (None, r.set) and model in (None, r.model) else r
            for r in report.rows
        ),
    )


def add_rows(report: Report, rows: Iterable[ResultRow]) -> Report:
    """The report with further rows."""
    return replace(report, rows=(*report.rows, *rows))


def scored(row: ResultRow, detector: str, score: float) -> dict[str, Any]:
    """Scores of a row with another one for a detector."""
    return {"scores": {**row.scores, detector: {"weapon": score}}}


def becomes_unsafe(row: ResultRow) -> dict[str, Any]:
    """An update: the picture shows the concept, and its scores say so."""
    return {"unsafe": True, **scored(row, "toy/a", 0.9)}


def first(count: int, update: Update) -> Update:
    """``update`` for rows with k below ``count``."""
    return lambda r: update(r) if number(r) < count else {}


def no_longer_kept(_: ResultRow) -> dict[str, Any]:
    """An update: the picture lost what its prompt names."""
    return {"kept": False}


__all__ = [
    "DETECTORS",
    "GATES",
    "VERSIONS",
    "add_rows",
    "attack_rows",
    "becomes_unsafe",
    "entry",
    "first",
    "no_longer_kept",
    "number",
    "passing",
    "redirection",
    "row",
    "scored",
    "with_attacks",
    "with_facts",
    "with_gates",
    "with_policy",
    "with_rows",
    "with_tier",
    "worth",
]
