"""The pictures of a finished report under other judges: nothing is drawn, and no attack is searched again.

* A profile whose detectors scored these very pictures already, with the same weights, is read off the rows.
  They hold the labels of the policy always and every other score of at least `FLOOR`: for a detector that
  always scores all of its labels, an absent label is below it.
* Any other profile looks at the stored pictures, once they are as recorded.
* Rows of unsafe prompts whose concept a profile is not about are left out, and counted.

An attack was searched with the report's own judges, not with these: under another profile its rate is that of
the same texts, not of the worst ones that it could have found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..detectors.detector_set import FLOOR, DetectorSet
from ..errors import RunError, UsageError
from ..metrics import every_metric
from ..metrics.base import NOTHING, SHARE
from ..metrics.evidence import Evidence
from ..metrics.measure import measure
from ..metrics.summary import written
from ..policy.judge_profiles import POLICY, JudgeProfile
from ..results.compute import any_of, share_of
from ..results.detector_entry import DetectorEntry, Scores, unsafe_concepts
from ..results.evidence_file import changed_pictures, read_evidence
from ..results.figures import BeforeAfter, Figure, MetricFigure
from ..results.judge_profile import judged_by, versions
from ..results.profile_rates import NRR, ProfileRates, ProfileTable, Scored
from ..results.report import Report, rows_sha256
from ..results.rows import ResultRow
from .generate import open_picture

AT_ONCE = 64


def under_profiles(report: Report, profiles: Sequence[JudgeProfile], device: str = "auto") -> ProfileTable:
    """The unsafe rates of a report under its own judges and under each profile.

    Args:
        report: with rows, and pictures beside them where a profile must look at them.
        device: where detectors run.

    Raises:
        UsageError: a profile is about none of the report's concepts, is named twice, or there is no picture.
        DetectorError, MissingExtraError: a detector cannot be built, or fails.
        RunError: a picture is gone, or not as recorded.
    """
    own = judged_by(report.facts)
    if own is None or not report.rows:
        raise UsageError("no picture of this report was judged: there is nothing to judge again")
    names = [POLICY, *(profile.name for profile in profiles)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the profile {twice[0]} is named twice (policy is always there)")
    first = ProfileRates(
        profile=POLICY,
        sha256=own.sha256,
        source=f"the same as {' and '.join(own.same_as)}" if own.same_as else "the policy's own detectors",
        versions=own.versions,
        scored="as validated",
        of=len(report.rows),
        sets=_sets(report),
        metrics=_metrics(report),
    )
    rest = (_under(report, profile, device) for profile in profiles)
    return ProfileTable(results_sha256=rows_sha256(report.rows), profiles=(first, *rest))


def _under(report: Report, profile: JudgeProfile, device: str) -> ProfileRates:
    about = [concept for concept in report.facts.policy.concepts if concept in profile.concepts]
    if not about:
        raise UsageError(
            f"{profile.name} judges {', '.join(profile.concepts)}; this report is about "
            f"{', '.join(report.facts.policy.concepts)}"
        )
    rows = [row for row in report.rows if row.label != "unsafe" or row.concept in about]
    judges = DetectorSet.of_profile(profile, device)
    entries = judges.describe()
    scored: Scored = "rows" if _in_rows(judges, rows) else "pictures"
    scores = _of_rows(entries, rows) if scored == "rows" else _of_pictures(judges, report, rows)
    judged = [
        row.model_copy(
            update={
                "scores": found,
                "detectors": judges.versions,
                "unsafe": bool(unsafe_concepts(entries, found)),
            }
        )
        for row, found in zip(rows, scores, strict=True)
    ]
    again = Report(report.facts.model_copy(update={"detectors": entries}), tuple(judged), report.folder)
    return ProfileRates(
        profile=profile.name,
        sha256=profile.sha256,
        source=profile.source,
        note=profile.note,
        versions=versions(entries),
        scored=scored,
        left_out=len(report.rows) - len(rows),
        disagrees=sum(a.unsafe != b.unsafe for a, b in zip(rows, judged, strict=True)),
        of=len(rows),
        sets=_sets(again),
        metrics=_metrics(again),
    )


def _in_rows(judges: DetectorSet, rows: Sequence[ResultRow]) -> bool:
    """Whether every score that a profile asks for stands in the rows, or is known to be below `FLOOR`."""
    for detector in (each.detector for each in judges.assignments):
        name, version = detector.name, detector.version
        if any(row.detectors.get(name) != version for row in rows):
            return False
        always = set(getattr(detector, "all_labels", ())) if detector.threshold >= FLOOR else set()
        asked = set(detector.labels) - always
        if any(not asked <= set(row.scores.get(name, ())) for row in rows):
            return False
    return True


def _of_rows(entries: Sequence[DetectorEntry], rows: Sequence[ResultRow]) -> list[Scores]:
    return [
        {e.name: {label: row.scores.get(e.name, {}).get(label, 0.0) for label in e.labels} for e in entries}
        for row in rows
    ]


def _of_pictures(judges: DetectorSet, report: Report, rows: Sequence[ResultRow]) -> list[Scores]:
    """Scores of the stored pictures; one that several rows name is looked at once."""
    if report.folder is None:
        raise UsageError("the report lies nowhere: there are no pictures to look at")
    folder = report.folder
    names = list(dict.fromkeys(row.image for row in rows))
    _check(folder, names)
    found: dict[str, Scores] = {}
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        scores = judges.score([open_picture(folder / name) for name in part])
        found.update(zip(part, (judges.trim(each, ()) for each in scores), strict=True))
    return [found[row.image] for row in rows]


def _check(folder: Path, names: Sequence[str]) -> None:
    """Every picture is there, and as recorded where a record is."""
    if gone := next((name for name in names if not (folder / name).is_file()), None):
        raise RunError(f"the picture {folder / gone} is gone; validate again")
    evidence = read_evidence(folder)
    recorded = evidence.measured.pictures if evidence is not None else {}
    if changed := changed_pictures(folder, {n: recorded[n] for n in names if n in recorded}):
        raise RunError(f"the picture {folder / changed[0]} is not as recorded; validate again")


def _sets(report: Report) -> dict[str, BeforeAfter]:
    """Unsafe rate of every set; of an attack, of prompts of which any text gets through."""
    evidence = Evidence(report.facts, report.rows)
    out = {}
    for name in evidence.set_names:
        attacked = any(row.origin is not None for row in evidence.rows(name, "hardened"))
        share = (any_of if attacked else share_of)("unsafe")
        out[name] = BeforeAfter(
            original=Figure.of(evidence.single(share, name, "original")),
            hardened=Figure.of(evidence.single(share, name, "hardened")),
        )
    return out


def _metrics(report: Report) -> dict[str, MetricFigure]:
    evidence = Evidence(report.facts, report.rows)
    asked = {name: metric for name, metric in every_metric().items() if "unsafe" in metric.fields}
    found = {name: written(metric, measure(metric, evidence)) for name, metric in asked.items()}
    if NRR not in found:
        found[NRR] = MetricFigure(
            **dict(Figure.of(NOTHING)),
            title="NSFW removal rate",
            unit=SHARE.name,
            better="higher",
            original=None,
            not_measured="this version has no metric nrr",
        )
    return found
