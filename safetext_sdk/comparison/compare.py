"""The comparison itself: every contender measured like a hardened model, or its report read."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..baselines import Baseline
from ..prompts import build_prompt_book
from ..quiet import quiet_pipelines
from ..report import publish
from ..results.evidence_file import Measured, read_evidence
from ..results.report import Report, drop_unfinished
from ..validation.generate import PictureMaker, Request
from ..validation.plan import ValidationPlan
from ..validation.session import Session
from ..validation.subjects import Subjects, resolve
from ..validation.telling import told
from ..validation.validate import measure_models
from ..verdict.gate import judge
from ..versions import own_version
from .contenders import Contender, Setting, contenders, is_foreign, resolve_baselines
from .entries import ComparedEntry, Comparison, Cost, common_facts, entry_of
from .pages import write_pages
from .reuse import finished, usable

if TYPE_CHECKING:
    from ..models import TextToImageModel
    from ..policy import Policy
    from ..results.facts import Facts
    from ..validation.session import Step
    from .contenders import Given

BATCH = 2
"""Pictures of the batch whose drawing is timed."""


def compare(
    given: Sequence[Given],
    policy: Policy | None,
    plan: ValidationPlan,
    *,
    out: str | Path,
    model: TextToImageModel | str | Path | None = None,
    baselines: Sequence[str | Baseline[Any]] = ("original",),
    progress: bool | Step = True,
) -> Comparison:
    """Measure runs, models and baselines on the same prompts and seeds, and write table and plot.

    Args:
        given: run folders, hardened models, or models whose encoders take the place of the original's.
        policy: what all are judged by; None: the first run's own.
        plan: what is drawn, and how; its ``cache`` is the comparison's own unless given.
        out: folder for ``comparison.json``, ``comparison.md``, ``index.html``, and one report folder an
            entry. The same call goes on there.
        model: the undefended model; None: the one that the first run was made from.
        baselines: names of `safetext baselines list`, or made with settings.
        progress: a bar on stderr, or a callable that is told (what, done, total).

    Raises:
        UsageError: nothing to compare, no model, an unknown baseline or attack, or models of two families.
        RunError: a run is not as its manifest says, or was made from another model.
        MissingExtraError, DetectorError, PolicyError: as `safetext_sdk.validate`.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    made, place = resolve_baselines(baselines), Path(out)
    plan.chosen_attacks()  # a misspelt name is reported before anything is loaded
    if plan.encoder is not None:
        raise errors.UsageError("a comparison takes no exported encoder; validate it by itself")
    if not given and not made:
        raise errors.UsageError("nothing to compare: name runs, models or baselines")
    first = _first(given, policy, model, (plan.device, plan.precision))
    seed = plan.book_seed if plan.book_seed is not None else int(first.manifest.get("seed", 0))
    plan = replace(plan, book_seed=seed, cache=plan.cache or place / "pictures")
    subject = first.original
    book = build_prompt_book(first.policy, seed=seed, model=subject.id, languages=subject.languages)
    with told(progress) as tell:
        setting = Setting(first.original, first.policy, book, place, plan.device, tell, plan.precision)
        entries: list[ComparedEntry] = []
        facts: dict[str, Any] = {}
        try:
            for contender in contenders(given, made, setting):
                entry, report = _measured(contender, setting, plan)
                entries.append(entry)
                if report is not None and not facts:
                    facts = dict(common_facts(report))
        except KeyboardInterrupt as error:
            raise errors.InterruptedRun(
                f"stopped; the same command goes on from what is in {place}"
            ) from error
    if not facts:
        why = "; ".join(f"{e.name}: {e.impossible}" for e in entries)
        raise errors.UsageError(f"nothing can be measured on {first.original.id} ({why})")
    found = Comparison(safetext_version=own_version(), entries=tuple(entries), **facts)
    write_pages(found, place)
    return found


def _first(
    given: Sequence[Given],
    policy: Policy | None,
    model: TextToImageModel | str | Path | None,
    where: tuple[str, str],
) -> Subjects:
    """Original and policy, from what was said and the first run. ``where``: device and precision."""
    from ..models import load_model

    if model is None and not given:
        raise errors.UsageError("no model: name one (--model), or a run")
    device, precision = where
    original = (
        load_model(model, device=device, precision=precision) if isinstance(model, str | Path) else model
    )
    known = [each for each in given if not is_foreign(each)]
    if not known:
        if policy is None:
            raise errors.UsageError("no policy given, and no run folder to take it from; add --policy")
        if original is None:
            raise errors.UsageError("no model: encoders of others need the one that they are for (--model)")
        return Subjects(original, original, None, policy)
    return resolve(original, known[0], policy, device=device, precision=precision)


def _measured(
    contender: Contender, setting: Setting, plan: ValidationPlan
) -> tuple[ComparedEntry, Report | None]:
    known: dict[str, Any] = {
        "name": contender.name,
        "kind": contender.kind,
        "detail": contender.detail,
        "settings": contender.settings,
    }
    subjects = contender.subjects
    if subjects is None:
        return ComparedEntry(**known, impossible=contender.impossible), None
    folder, notes = setting.out / contender.name, []
    session = Session.prepare(plan, subjects, folder, setting.tell)
    report: Report | None = None
    for place in (contender.ready, folder):
        if report is None and place is not None and finished(place):
            report, why = usable(place, session)
            if why and place is contender.ready:
                notes.append(f"its own report was not read: {why}")
    reused = report is not None
    if report is None:
        report = measure_models(subjects, plan, out=folder, progress=setting.tell)
        evidence = Measured.of(report)
        verdict = judge(report, evidence)
        publish(report, verdict, evidence, github=False)
        drop_unfinished(folder)
    else:
        assert report.folder is not None
        stored = read_evidence(report.folder)
        verdict = judge(report, stored.measured if stored else None, setting.policy)
    if subjects.manifest and subjects.manifest.get("seed") != session.book_seed:
        notes.append("hardened on a prompt book of another seed: it may have seen some of these prompts")
    asked = as_asked(report, {attack.name for attack in session.attacks})
    if further := [
        a.name for a in report.facts.attacks if a not in asked.facts.attacks and a.role == "attack"
    ]:
        notes.append(f"its verdict counts attacks that no other entry met: {', '.join(further)}")
    notes += not_attacked(asked.facts)
    entry = entry_of(
        asked,
        verdict,
        **known,
        report=_relative(report.folder, setting.out),
        reused=reused,
        note="; ".join(notes),
        cost=Cost(learning=contender.seconds, picture=_picture_seconds(session)),
    )
    return entry, asked


def as_asked(report: Report, attacks: Collection[str]) -> Report:
    """The report with the figures of these attacks and of the random searches beside them alone: one that was
    read may have more, and the worst of more attacks is another figure."""
    facts = report.facts
    own = tuple(entry for entry in facts.attacks if entry.name in attacks or entry.of in attacks)
    gone = {entry.name for entry in facts.attacks} - {entry.name for entry in own}
    plan = {name: n for name, n in facts.plan.items() if name not in gone}
    return replace(report, facts=facts.model_copy(update={"attacks": own, "plan": plan})) if gone else report


def not_attacked(facts: Facts) -> list[str]:
    """One line for every gated attack that an entry's worst figure is without."""
    gone = [attack for attack in facts.attacks if attack.gated and attack.impossible is not None]
    return [f"its worst figure is without {attack.name}: {attack.impossible}" for attack in gone]


def _relative(folder: Path | None, out: Path) -> str | None:
    import os

    return None if folder is None else Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()


def _picture_seconds(session: Session) -> float | None:
    """Seconds for one picture: the faster of two batches of the first unsafe prompts, none of them kept."""
    maker: PictureMaker | None = session.makers.get("hardened")
    prompts = list(dict.fromkeys(u.text for u in session.book.test.unsafe))[:BATCH]
    if maker is None or not prompts:
        return None
    times = []
    for _ in range(2):
        begun = time.monotonic()
        with quiet_pipelines():
            maker.draw([Request(prompt, 0) for prompt in prompts])
        times.append(time.monotonic() - begun)
    return round(min(times) / len(prompts), 4)
