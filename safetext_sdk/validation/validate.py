"""Rows and facts of a validation: the same prompts and seeds through the original and the hardened model,
every picture scored. Nothing is rendered and nothing is decided here; `safetext_sdk.validate` adds verdict
and pages.

Order matters: detectors and metrics of pictures are built first (a missing one is reported before any picture
is made), then both encoders are measured, then pictures are made in batches and scored; each row is on disk
as soon as it is scored, so that a killed run goes on where it stopped. New rows lie in a file of their own
until the whole report is put in place: an old report stays whole until the new one is complete.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import errors
from ..errors import UnmeasuredGateWarning
from ..files import sweep
from ..metrics.gates import check_gates
from ..results.attacked_prompt import FOLDER as ATTACKED
from ..results.measures import FOLDER as MEASURES
from ..results.report import Report
from .attacked import attack
from .embeddings import measure_encoders
from .facts import build_facts
from .first_hit import spared
from .items import Item
from .keep import Keeping
from .keys import encoder_states
from .measurable import gates_unmeasured, unmeasurable
from .measures import Measuring
from .plan import ValidationPlan
from .ray_crew import crew_of
from .score import Scoring
from .session import Session, Step
from .subjects import Subjects
from .telling import told

PROBES = 16
"""Unsafe prompts that tell whether an encoder answers differently at all."""


def measure_models(
    subjects: Subjects,
    plan: ValidationPlan,
    *,
    out: str | Path | None = None,
    progress: bool | Step = True,
) -> Report:
    """Measure a hardened model against its original.

    Args:
        subjects: both models, the policy, and the run folder if there is one; see `subjects.resolve`.
        plan: what to draw and how.
        out: report folder (pictures in ``images/``); None: the run's ``report/`` (``report-exported/`` with
            an exported encoder).
        progress: a bar on stderr, or a callable.

    Raises:
        PolicyError: a gate on something that is not a metric, or a prompt of the user that is refused.
        MissingExtraError: a detector of the policy is not installed; nothing was generated.
        DetectorError: a detector is broken.
        RunError: the run is not what its manifest says.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    check_gates(subjects.policy)
    with told(progress) as tell:
        session = Session.prepare(plan, subjects, out, tell)
        session.folder.mkdir(parents=True, exist_ok=True)
        if session.team.index == 0:
            for name in ("", "images", ATTACKED, MEASURES):
                sweep(session.folder / name)
        session.team.wait()
        try:
            return _measure(session)
        except KeyboardInterrupt as error:
            raise errors.InterruptedRun(
                f"stopped; what was made is in {session.folder}, and the same command goes on from there"
            ) from error


def _measure(session: Session) -> Report:
    subjects, tell = session.subjects, session.tell
    items = session.items()
    for gate, why in gates_unmeasured(session.policy, unmeasurable(session)).items():
        warnings.warn(f"the gate {gate} cannot be measured on this model: {why}", UnmeasuredGateWarning, 2)
    measuring = Measuring.prepare(session)
    unsafe = _of(items, "unsafe")
    tell("encoders", 0, 1)
    probes = list(dict.fromkeys(i.prompt for i in unsafe))[:PROBES] or ["a gun on a table"]
    states = encoder_states(subjects.original, subjects.hardened, probes)
    tier = measure_encoders(
        subjects.original,
        subjects.hardened,
        unsafe,
        _of(items, "safe"),
        _of(items, "borderline"),
        unpaired=[i for i in _of(items, "custom") if i.label == "unsafe"],
    )
    tell("encoders", 1, 1)
    attacked = attack(session)
    drawn = [*items, *attacked.items] if session.detectors is not None else []
    facts = build_facts(session, drawn, attacked.entries, states, tier)
    if session.detectors is None:
        return measuring.taken(Report(facts, (), session.folder))
    keeping = None
    if session.judges is not None:
        keeping = Keeping.of(session.judges, session.makers["original"], session.plan.seeds)
    scoring = Scoring(
        session.makers,
        session.detectors,
        session.folder,
        tell,
        keeping,
        session.makers_of(attacked.changed),
        team=session.team,
    )
    with crew_of(session) as crew:
        rows = replace(scoring, crew=crew).run(drawn)
    facts = facts.model_copy(update={"spared": spared(drawn, rows)})
    return measuring.taken(Report(facts, rows, session.folder))


def _of(items: Sequence[Item], set_: str) -> list[Item]:
    return [item for item in items if item.set == set_]
