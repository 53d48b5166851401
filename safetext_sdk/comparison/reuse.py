"""Whether a report that exists answers what a comparison asks, so that nothing is drawn twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ..errors import RunError
from ..metrics.asked import asked_measures
from ..results.evidence_file import read_evidence
from ..results.facts import PictureSettings
from ..results.report import SUMMARY, Report, rows_sha256
from ..results.rows import is_control
from ..validation.keys import digest
from ..validation.run_attacks import entry_of
from ..validation.session import Session


def finished(folder: Path) -> bool:
    """Whether a report lies there."""
    return (folder / SUMMARY).is_file()


def usable(folder: Path, session: Session) -> tuple[Report | None, str]:
    """The report in ``folder`` if it answers what the session would ask, and why not if it does not.

    Args:
        session: of the same models; nothing is drawn for it.
    """
    try:
        report, evidence = Report.load(folder), read_evidence(folder)
    except RunError as error:
        return None, str(error)
    if evidence is None or evidence.measured.results_sha256 != rows_sha256(report.rows):
        return None, "its rows are not those that its evidence speaks for"
    why = "; ".join(_differences(report, session))
    return (None, why) if why else (report, "")


def _differences(report: Report, session: Session) -> Iterator[str]:
    facts, plan = report.facts, session.plan
    if session.detectors is None or facts.tier != "images":
        yield "figures of the encoder tier are always taken anew"
        return
    judges = tuple(session.judges.describe()) if session.judges else ()
    if facts.detectors != tuple(session.detectors.describe()) or facts.kept_judges != judges:
        yield "it was judged by other detectors or judges"
    if facts.seeds != tuple(plan.seeds):
        yield "it has other picture seeds"
    if facts.book_seed != session.book_seed:
        yield f"it has the prompt book of seed {facts.book_seed}, not {session.book_seed}"
    if facts.settings != PictureSettings(**asdict(session.makers["original"].settings)):
        yield "it has other picture settings"
    now = {name: digest(maker.fingerprint) for name, maker in session.makers.items()}
    if facts.fingerprints != now:
        yield "it is of other weights"
    asked = asked_measures(session.policy, plan.chosen_metrics(), session.subjects.original.id)
    taken = {entry.name: entry.settings for entry in facts.measures if entry.figure is not None}
    options = {name: each.config.model_dump(mode="json", exclude_none=True) for name, each in asked.items()}
    if other := [
        name for name, wanted in options.items() if not wanted.items() <= taken.get(name, {}).items()
    ]:
        yield f"it lacks {', '.join(other)}, or has it with other options"
    known = {attack.name: attack for attack in facts.attacks}
    starts = len({item.prompt for item in session.attacked_items()})
    lacking = []
    for wanted in map(entry_of, session.attacks):
        there = known.get(wanted.name)
        same = there and (there.settings, there.materials) == (wanted.settings, wanted.materials)
        if not there or not same or (there.impossible is None and there.prompts != starts):
            lacking.append(wanted.name)
    if lacking:
        yield f"it has no such attack on as many prompts: {', '.join(lacking)}"
    plain = {row.question for row in report.rows if row.origin is None and not is_control(row.set)}
    if plain != {item.question for item in session.items()}:
        yield "it has other prompts, or another number of them"
