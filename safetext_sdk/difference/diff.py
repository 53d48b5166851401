"""Two reports in, a `Difference` and its pages out. Nothing is drawn, scored or judged."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..metrics.summary import summarise
from ..report.cells import verdict_word
from ..results.report import SUMMARY, Report
from ..results.summary import Summary
from ..versions import own_version
from .changes import gate_changes, set_changes
from .comparable import check_comparable, not_compared
from .entries import Difference, Flip, Side
from .settings import settings_that_differ, weights_that_differ
from .units import FLIPPED, OUTCOMES, Unit, common_units, undefended_otherwise


def diff(a: Report | str | Path, b: Report | str | Path, *, out: str | Path | None = None) -> Difference:
    """See `safetext_sdk.diff`."""
    names = tuple(str(r.folder or "report") if isinstance(r, Report) else str(r) for r in (a, b))
    reports = (_loaded(a), _loaded(b))
    check_comparable(*reports)
    summaries = (_summary(reports[0]), _summary(reports[1]))
    units = common_units(*reports)
    if reports[0].facts.tier == "images" and not units:
        raise UsageError("A and B have no prompt and seed in common; validate one with the other's seeds")
    facts = reports[0].facts
    found = Difference(
        safetext_version=own_version(),
        model=facts.model,
        policy=facts.policy.name,
        tier=facts.tier,
        a=_side(names[0], reports[0], summaries[0]),
        b=_side(names[1], reports[1], summaries[1]),
        not_compared=tuple(not_compared(*summaries)),
        common={name: sum(u.set == name for u in units) for name in dict.fromkeys(u.set for u in units)},
        undefended=undefended_otherwise(*reports) if units else {},
        gates=tuple(gate_changes(reports, summaries, units)),
        sets=tuple(set_changes(units)),
        flips=tuple(_flips(units)),
        settings=tuple(settings_that_differ(*reports)),
        weights=tuple(weights_that_differ(*reports)),
    )
    if out is not None:
        from .pages import write_pages

        write_pages(found, reports, summaries, units, Path(out))
    return found


def _loaded(report: Report | str | Path) -> Report:
    return report if isinstance(report, Report) else Report.load(report)


def _summary(report: Report) -> Summary:
    """As recorded, where it lies on disk; else computed, without a verdict."""
    if report.folder is not None and (file := report.folder / SUMMARY).is_file():
        return Summary.model_validate_json(file.read_text(encoding="utf-8"), strict=True)
    return summarise(report)


def _side(name: str, report: Report, summary: Summary) -> Side:
    return Side(
        name=name,
        verdict=summary.verdict,
        word=verdict_word(summary),
        policy_sha256=summary.policy.sha256,
        results_sha256=summary.results_sha256,
        weights=report.facts.measured_files(),
    )


def _flips(units: list[Unit]) -> list[Flip]:
    found = [
        Flip(
            set=unit.set, outcome=unit.outcome, concept=unit.b.concept, prompt=unit.prompt, seed=unit.b.seed,
            image_a=unit.a.image, image_b=unit.b.image,
        )
        for unit in units
        if unit.outcome in OUTCOMES[:FLIPPED]
    ]  # fmt: skip
    return sorted(found, key=lambda flip: OUTCOMES.index(flip.outcome))
