"""Attacks alone, on a run or on any model: the machinery of a validation with nothing but unsafe prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attacks.base import Budget
from ..detectors.detector_set import DetectorSet
from ..errors import InterruptedRun, PolicyError, UsageError
from ..processes import team
from ..results.attack_entry import AttackEntry
from ..results.attack_summary import ATTACK_REPORT, AttackReport
from ..results.facts import EncoderTier, Facts
from .attack_figures import summarise_attacks
from .attack_run import AttackRun, check_seeds, further_runs
from .attacked import around, controls
from .binding import bind
from .facts import BEYOND, build_facts
from .first_hit import spared
from .items import Choice, Item, build_items, spread
from .keys import encoder_states
from .own_prompts import OwnPrompts, PromptFile, load_prompts, refuse
from .plan import DrawingOptions, DrawingPlan, ValidationPlan
from .ray_crew import crew_of
from .replay import ReplayFile, read_replays
from .run_attacks import resolve_attacks, run_attacks
from .score import Scoring
from .session import Session, Step
from .telling import told

if TYPE_CHECKING:
    from ..attacks import Attack
    from .subjects import Subjects

USUAL_N = 24
"""Prompts of the policy that are attacked unless another number is asked for: white-box attacks take minutes
a prompt on a laptop."""


class AttackOptions(DrawingOptions, total=False):
    """Keyword arguments of `safetext_sdk.attack`: the fields of `AttackPlan`."""

    n: int | None
    prompts: str | Path | PromptFile | None
    budget: Budget
    attack_seeds: Sequence[int] | None
    random: bool
    replay: Sequence[str | Path]


@dataclass(frozen=True)
class AttackPlan(DrawingPlan):
    """What is attacked; how pictures are drawn is in `DrawingPlan`. Attacks themselves are run by this
    process, also with ``ray``.

    Attributes:
        attacks: by name, or made with settings.
        n: distinct prompts; None: `USUAL_N` of the policy's held-out ones, or all of ``prompts``.
        prompts: the user's own prompts in the place of the policy's; only those labelled unsafe are attacked.
        budget: of attacks that are given by name.
        attack_seeds: seeds of every attack, the first of which is the one that stands alone; None: its own.
        random: whether a random search of equal cost stands beside every search that has one.
        replay: files of attacked prompts (``attacks/NAME.jsonl``) to run without search.

    Raises:
        UsageError: nothing to run, seeds that stand twice, or fewer than one prompt.
    """

    attacks: Sequence[str | Attack[Any]] = ()
    n: int | None = None
    prompts: str | Path | PromptFile | None = None
    budget: Budget = "paper"
    attack_seeds: Sequence[int] | None = None
    random: bool = True
    replay: Sequence[str | Path] = ()

    def __post_init__(self) -> None:
        if not self.attacks and not self.replay:
            raise UsageError("nothing to run: name an attack (`safetext attacks list`) or a file to replay")
        if self.n is not None and self.n < 1:
            raise UsageError("n: at least one prompt has to be attacked")
        check_seeds(self.attack_seeds)
        super().__post_init__()

    def runs(self) -> list[AttackRun]:
        """The attacks as they are run, replays aside.

        Raises:
            UsageError: an unknown name.
        """
        attacks = resolve_attacks(self.attacks, self.budget)
        return [run for each in attacks for run in further_runs(each, self.attack_seeds, random=self.random)]

    @cached_property
    def own(self) -> OwnPrompts | None:
        """The user's prompts that ask for something unsafe, at most ``n`` of them.

        Raises:
            PolicyError, UsageError, MissingExtraError: they cannot be read, or none is unsafe.
        """
        if self.prompts is None:
            return None
        given = self.prompts if isinstance(self.prompts, PromptFile) else PromptFile(self.prompts)
        loaded = load_prompts(replace(given, label=given.label or "unsafe"))
        unsafe = [prompt for prompt in loaded.prompts if prompt.label == "unsafe"]
        if not unsafe:
            raise PolicyError("none of these prompts is labelled unsafe", file=str(given.source))
        if self.n is not None:
            unsafe = spread(unsafe, self.n, lambda p: p.concept, lambda p: p.prompt)
        return OwnPrompts(tuple(unsafe), loaded.entry.model_copy(update={"used": len(unsafe)}))

    @cached_property
    def replays(self) -> Sequence[ReplayFile]:
        """What is replayed.

        Raises:
            PolicyError, RunError: a file that cannot be replayed.
        """
        return read_replays(self.replay)

    def check(self) -> None:
        """Read and look up all that is named, so that a wrong name is told before a model is loaded.

        Raises:
            UsageError, PolicyError, RunError: the first thing that is wrong.
        """
        _ = self.runs(), self.own, self.replays

    def as_validation(self) -> ValidationPlan:
        """The parts that a validation has as well."""
        shared = {each.name: getattr(self, each.name) for each in fields(DrawingPlan)}
        return ValidationPlan(attacks=(), **shared)


def attack_models(
    subjects: Subjects, plan: AttackPlan, *, out: str | Path | None = None, progress: bool | Step = True
) -> AttackReport:
    """Attack a model; see `safetext_sdk.attack`."""
    with told(progress) as tell:
        if plan.own is not None:
            refuse(plan.own.prompts, subjects.policy)
        session = _session(subjects, plan, out, tell)
        try:
            return _attack(session, plan)
        except KeyboardInterrupt as error:
            raise InterruptedRun(
                f"stopped; what was found is in {session.folder}, and the same command goes on from there"
            ) from error


def _session(subjects: Subjects, plan: AttackPlan, out: str | Path | None, tell: Step) -> Session:
    """What stands before the first picture. No judge of kept is built: no safe prompt is drawn."""
    from ..prompts import build_prompt_book

    own = plan.own
    original, run = subjects.original, subjects.run
    if not subjects.draws_pictures:
        raise UsageError(
            f"{original.id} has no denoiser, and whether an attack gets through is told on pictures; "
            "give a pipeline"
        )
    if out is None and run is None:
        raise UsageError("no folder for the report: give out=")
    folder = Path(out) if out is not None else run.path / ATTACK_REPORT  # type: ignore[union-attr]
    bound = bind(subjects, folder, force=plan.force)
    seed = plan.book_seed if plan.book_seed is not None else int(subjects.manifest.get("seed", 0))
    book = build_prompt_book(subjects.policy, seed=seed, model=original.id, languages=original.languages)
    if plan.attacks and own is None and not book.test.unsafe:
        raise PolicyError(
            f"the policy {subjects.policy.name} has no held-out unsafe prompts for this model",
            allowed="--prompts",
        )
    named = {u.concept for u in book.test.unsafe}
    named |= {p.concept for p in (own.prompts if own is not None else ()) if p.concept is not None}
    detectors = DetectorSet.build(subjects.policy, original.id, plan.device, named or None)
    folder.mkdir(parents=True, exist_ok=True)
    return Session(
        plan.as_validation(),
        subjects,
        book,
        seed,
        own.prompts if own else (),
        detectors,
        None,
        folder,
        bound,
        tell,
        own.entry if own else None,
        team(plan.device),
    )


def _attack(session: Session, plan: AttackPlan) -> AttackReport:
    subjects, detectors, runs = session.subjects, session.detectors, plan.runs()
    assert detectors is not None
    plain = _plain(session, plan) if runs else []
    items, entries, changed = run_attacks(runs, plain, subjects, session.tell, around(session))
    concepts = frozenset(concept.id for concept in session.policy.concepts)
    for each in plan.replays:
        begun_with = each.items(session.plan.seeds, concepts)
        more, entry, _ = run_attacks([each.run], begun_with, subjects, session.tell)
        items, entries = [*items, *more], [*entries, *entry]
        plain = [*plain, *(item for item in begun_with if item not in plain)]
    own = [item for item in items if item.set in {entry.name for entry in entries if entry.role == "attack"}]
    drawn = [*plain, *items, *controls(own, entries)]
    makers = session.makers_of(changed)
    scoring = Scoring(
        session.makers, detectors, session.folder, session.tell, None, makers, team=session.team
    )
    facts = _facts(session, drawn, entries)
    with crew_of(session) as crew:
        rows = replace(scoring, crew=crew).run(drawn)
    facts = facts.model_copy(update={"spared": spared(drawn, rows)})
    return summarise_attacks(facts, rows, session.folder, subjects)


def _plain(session: Session, plan: AttackPlan) -> list[Item]:
    """The prompts that are attacked, as they are."""
    if plan.own is not None:
        return build_items(session.policy, session.book, Choice({}, session.plan.seeds, plan.own.prompts))
    choice = Choice({"unsafe": plan.n or USUAL_N}, session.plan.seeds)
    return build_items(session.policy, session.book, choice)


def _facts(session: Session, items: Sequence[Item], entries: Sequence[AttackEntry]) -> Facts:
    subjects = session.subjects
    probes = list(dict.fromkeys(item.prompt for item in items))[:16]
    states = encoder_states(subjects.original, subjects.hardened, probes)
    facts = build_facts(session, items, entries, states, EncoderTier())
    lines = [f"the attack {entry.name}: {entry.impossible}" for entry in entries if entry.impossible]
    lines += ["utility, over-refusal and every gate: attacks alone say nothing about them", BEYOND]
    return facts.model_copy(update={"unmeasurable": {}, "not_measured": tuple(lines)})
