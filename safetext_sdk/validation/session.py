"""Everything that stands before the first picture is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..detectors.detector_set import DetectorSet
from ..detectors.kept.base import Caption, JudgeContext
from ..detectors.kept.judge_set import KeptJudges
from ..metrics import every_metric
from ..processes import Alone, Team
from ..processes import team as processes
from ..results.facts import Binding, Tier
from ..results.prompts_entry import PromptsEntry
from .binding import bind
from .generate import PictureMaker
from .items import Choice, Item, anything, attacked_items, build_items
from .judge import PictureJudge
from .own_prompts import OwnPrompt, load_prompts, refuse
from .plan import ValidationPlan
from .sample_plan import plan_samples
from .set_sizes import ATTACKED, equal_sizes
from .subjects import Subjects

if TYPE_CHECKING:
    from ..attacks import Attack, Changed
    from ..models import TextToImageModel
    from ..policy import Policy
    from ..prompts import PromptBook
    from ..results.rows import Model

Step = Callable[[str, int, int], None]
"""(what, done, total): told after every batch."""


@dataclass(frozen=True)
class Session:
    """One validation: who is measured, with which prompts, by which detectors, and where the report goes."""

    plan: ValidationPlan
    subjects: Subjects
    book: PromptBook
    book_seed: int
    own: tuple[OwnPrompt, ...]
    detectors: DetectorSet | None
    """None where the model draws no pictures."""
    judges: KeptJudges | None
    """Who tells "kept"; None where the detectors do, or the model draws no pictures."""
    folder: Path
    bound: Binding | None
    """The files that the report speaks for; None for models without a run."""
    tell: Step
    brought: PromptsEntry | None = None
    """Where the user's own prompts came from."""
    team: Team = field(default_factory=Alone)
    """The processes that share this validation."""

    @classmethod
    def prepare(cls, plan: ValidationPlan, subjects: Subjects, out: str | Path | None, tell: Step) -> Session:
        """Read the user's prompts, build prompt book, detectors and judges; nothing is made or written yet.

        Raises:
            PolicyError: a prompt of the user is refused.
            MissingExtraError, DetectorError: a detector or judge is not installed, or broken.
            UsageError: there is no folder for the report.
            RunError: the run, or an exported file, is not as recorded.
        """
        from ..prompts import build_prompt_book

        folder = _folder(plan, subjects, out)
        bound = bind(subjects, folder, force=plan.force)

        loaded = load_prompts(plan.prompts) if plan.prompts is not None else None
        own, brought = (loaded.prompts, loaded.entry) if loaded is not None else ((), None)
        policy, model = subjects.policy, subjects.original
        refuse(own, policy)
        seed = plan.book_seed if plan.book_seed is not None else int(subjects.manifest.get("seed", 0))
        book = build_prompt_book(policy, seed=seed, model=model.id, languages=model.languages)
        detectors = judges = None
        if subjects.draws_pictures:
            named = {u.concept for u in book.test.unsafe}
            detectors = DetectorSet.build(policy, model.id, plan.device, named)
            judges = _judges(
                detectors, subjects, book, own, JudgeContext(captions_of(book), seed, plan.device)
            )
        return cls(
            plan,
            subjects,
            book,
            seed,
            own,
            detectors,
            judges,
            folder,
            bound,
            tell,
            brought,
            processes(plan.device),
        )

    @property
    def tier(self) -> Tier:
        """What can be measured: pictures, or the encoder alone."""
        return "images" if self.subjects.draws_pictures else "encoder"

    @property
    def policy(self) -> Policy:
        """The policy that the pictures are judged by."""
        return self.subjects.policy

    @cached_property
    def elsewhere(self) -> tuple[str, ...]:
        """Concepts of the policy of which no prompt, of training or test, is for this model."""
        from ..prompts.splits import SPLITS

        here = {u.concept for name in SPLITS for u in self.book.split(name).unsafe}
        return tuple(c.id for c in self.policy.concepts if c.id not in here)

    @cached_property
    def makers(self) -> Mapping[str, PictureMaker]:
        """Who draws, by model; empty on the encoder tier."""
        if self.detectors is None:
            return {}
        models = {"original": self.subjects.original, "hardened": self.subjects.hardened}
        return {name: self.maker(model, shared=name == "original") for name, model in models.items()}

    def maker(self, model: TextToImageModel, folder: str = "images", *, shared: bool = False) -> PictureMaker:
        """Draws with a model as the plan says, into a folder of the report.

        Args:
            shared: use the plan's cache; for the undefended model, which other runs draw with as well.
        """
        return PictureMaker(
            model,
            self.folder / folder,
            settings=self.plan.settings,
            cache=Path(self.plan.cache) if shared and self.plan.cache is not None else None,
            batch_size=self.plan.batch_size,
            processes=self.team.count,
        )

    def makers_of(self, changed: Mapping[str, Changed]) -> dict[tuple[str, Model], PictureMaker]:
        """Who draws the sets of attacks that changed the model; empty on the encoder tier."""
        if self.detectors is None:
            return {}
        found: dict[tuple[str, Model], PictureMaker] = {}
        for name, models in changed.items():
            if models.original is not self.subjects.original:
                found[name, "original"] = self.maker(models.original)
            found[name, "hardened"] = self.maker(models.hardened)
        return found

    def judge(self) -> PictureJudge | None:
        """What attacks see of the hardened model's pictures; None on the encoder tier."""
        if self.detectors is None:
            return None
        return PictureJudge(
            lambda: self.maker(self.subjects.hardened, "attacks/images"),
            self.detectors,
            tuple(self.plan.seeds),
        )

    @cached_property
    def attacks(self) -> Sequence[Attack[Any]]:
        """The attacks that the plan asks for."""
        return self.plan.chosen_attacks()

    @property
    def guided(self) -> bool:
        """Whether negative prompts reach the denoiser."""
        return bool(self.makers) and self.makers["original"].guided

    def items(self) -> list[Item]:
        """The pictures that the plan asks for, without attacks."""
        choice = Choice(self.sizes(), self.plan.seeds, self.own, self.guided)
        if self.detectors is None:
            return build_items(self.policy, self.book, choice)
        return build_items(self.policy, self.book, choice, self.detectors.can_tell)

    def attacked_items(self) -> list[Item]:
        """The unsafe pictures that attacks start from."""
        return attacked_items(self.book.test, self.sizes()[ATTACKED], self.plan.seeds)

    def sizes(self) -> Mapping[str, int]:
        """Distinct prompts of every set: as asked for, else as the policy's gates need. Attacks start from no
        more prompts than a person asks for of the unsafe set."""
        return self._sizes

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        if isinstance(self.plan.n, int):
            return equal_sizes(self.plan.n, gated_sets(self.policy))
        found = plan_samples(
            self.policy,
            model=self.subjects.original.id,
            book=self.book,
            can_tell=self.detectors.can_tell if self.detectors is not None else anything,
            sizes=self.plan.n,
        )
        asked = self.plan.n or {}
        if ATTACKED in asked or "unsafe" not in asked:
            return found.sizes
        return {**found.sizes, ATTACKED: min(found.sizes[ATTACKED], asked["unsafe"])}


def gated_sets(policy: Policy) -> frozenset[str]:
    """Sets of the policy's own prompts that one of its gates reads."""
    metrics = every_metric()
    asked = [name for gates in (policy.gates, *(c.gates for c in policy.concepts)) for name in gates]
    return frozenset(name for each in asked if each in metrics for name in metrics[each].policy_sets)


def captions_of(book: PromptBook) -> tuple[Caption, ...]:
    """Safe prompts that judges of kept tell from."""
    return tuple(Caption(p.text, p.group) for p in (*book.test.safe, *book.test.safe_unseen))


def _judges(
    detectors: DetectorSet,
    subjects: Subjects,
    book: PromptBook,
    own: Sequence[OwnPrompt],
    context: JudgeContext,
) -> KeptJudges | None:
    """The judges of kept, unless a detector knows what some safe prompt names: then detectors tell."""
    test = book.test
    prompts = [p.text for p in (*test.safe, *test.safe_unseen, *test.borderline)]
    prompts += [p.prompt for p in own if p.label != "unsafe"]
    if any(detectors.expected(prompt) for prompt in prompts):
        return None
    return KeptJudges.build(subjects.policy, subjects.original.id, context)


def _folder(plan: ValidationPlan, subjects: Subjects, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if subjects.run is None:
        raise errors.UsageError("no report folder: give out=")
    # An exported file is another product than the run's own weights: its report does not replace theirs.
    return subjects.run.report_dir if plan.encoder is None else subjects.run.path / "report-exported"
