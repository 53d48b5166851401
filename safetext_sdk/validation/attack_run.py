"""One attack as it is run: under which name its rows stand, and where its results are kept.

An attack is run once under its own name. Further seeds of it, a random search of equal cost, and texts that
were found before are runs of their own beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attacks import Attack, AttackContext, AttackResult, Beside
from ..attacks.base import Judge
from ..errors import UsageError
from ..processes import Alone, Team, share
from ..results.attack_entry import RANDOM_SEARCH, Role
from ..results.attacked_prompt import AttackedFile, AttackedPrompt, FoundOn, attacked_path
from .keys import digest

if TYPE_CHECKING:
    from ..detectors.detector_set import DetectorSet
    from ..policy import Policy
    from .generate import PictureMaker
    from .items import Item
    from .subjects import Subjects

_NOT_IN_A_STATE = {"gates", "description", "severity", "sources", "detectors", "detector_rule"}
"""Parts of a concept that no attacked text depends on; detectors count where an attack sees pictures."""


@dataclass(frozen=True)
class AttackRun:
    """An attack under a name.

    Attributes:
        name: of its set of rows, its entry and its file.
        role, of: see `AttackEntry`.
        found_on: of a replay.
    """

    attack: Attack[Any]
    name: str
    role: Role = "attack"
    of: str | None = None
    found_on: FoundOn | None = None


def further_runs(attack: Attack[Any], seeds: Sequence[int] | None, *, random: bool) -> list[AttackRun]:
    """The runs of one attack: with each seed (None: its own), and the random search of equal cost, if it
    has one."""
    if seeds is None:
        runs = [AttackRun(attack, attack.name)]
    else:
        each = [type(attack)(attack.config.model_copy(update={"seed": seed})) for seed in seeds]
        runs = [AttackRun(each[0], attack.name)]
        runs += [
            AttackRun(a, f"{attack.name}.seed{seed}", "seed", attack.name)
            for a, seed in zip(each[1:], seeds[1:], strict=True)
        ]
    searched = runs[0].attack.baseline() if random else None
    if searched is not None:
        runs.append(AttackRun(searched, attack.name + RANDOM_SEARCH, "random", attack.name))
    return runs


@dataclass(frozen=True)
class Kept:
    """Where attacked prompts are kept, and whose they are.

    Attributes:
        folder: the report folder.
        models: both models, by hash.
        pictures: hash of how pictures are drawn and judged, for attacks that look at them.
    """

    folder: Path
    models: FoundOn
    pictures: str = ""

    @classmethod
    def of(
        cls,
        folder: Path,
        makers: Mapping[str, PictureMaker],
        subjects: Subjects,
        detectors: DetectorSet | None = None,
    ) -> Kept | None:
        """For a validation or an attack; None where no pictures are made."""
        if not makers:
            return None
        hashes = {name: digest(maker.fingerprint) for name, maker in makers.items()}
        name = subjects.run.path.name if subjects.run is not None else None
        judges = [entry.model_dump(mode="json") for entry in detectors.describe()] if detectors else []
        drawn = {name: asdict(maker.settings) for name, maker in makers.items()}
        return cls(folder, FoundOn(model=subjects.original.id, run=name, **hashes), digest([judges, drawn]))


@dataclass(frozen=True)
class Around:
    """What the attacks of one report may look at and write to.

    Attributes:
        judge: makes and judges pictures of prompts, for attacks that must see them.
        cache: folder for what attacks may keep; each gets its own below it.
        guided: whether a negative prompt reaches the denoiser.
        kept: where attacked prompts are kept: what is known is not searched again. None: nowhere.
        team: the processes that share the search.
    """

    judge: Judge | None = None
    cache: Path | None = None
    guided: bool = True
    kept: Kept | None = None
    team: Team = field(default_factory=Alone)


@dataclass(frozen=True)
class Results:
    """What becomes of prompts under one run: from disk where it is known, else from the attack, and on disk
    as soon as it is."""

    run: AttackRun
    context: AttackContext
    items: Mapping[str, Item]
    kept: Kept | None
    team: Team = field(default_factory=Alone)

    def of(self, prompts: Sequence[str]) -> Iterator[AttackResult]:
        """One result a prompt; those that are known first. Of several processes each attacks whole batches of
        prompts, and all get all results.

        Raises:
            RunError: what lies on disk is no file of attacked prompts.
            UsageError: several processes, and an attack that changes the model.
        """
        if not prompts:
            return  # what lies on disk is of other prompts, and stays
        if self.kept is None or self.run.role == "replay":
            yield from self.run.attack.attack(prompts, self.context)
            return
        file = self._file(self.kept)
        known = file.rows if _only_text(self.run.attack) else {}
        yield from [result_of(known[prompt]) for prompt in prompts if prompt in known]
        missing = [prompt for prompt in prompts if prompt not in known]
        size = getattr(self.run.attack.config, "prompts_at_once", 1)
        own = share(self.team, missing, size) if self.team.count > 1 else missing
        begun = time.monotonic()
        if own:
            for result in self.run.attack.attack(own, self.context):
                took = result.seconds or time.monotonic() - begun
                begun = time.monotonic()
                if result.prompt in self.items and result.texts:
                    file.add(self._row(result, took, file.state, self.kept))
                yield result
        if self.team.count > 1:
            file, own = self._file(self.kept), list(own)
            rest = file.rows.keys() & set(missing) - set(own)
            yield from [result_of(file.rows[prompt]) for prompt in missing if prompt in rest]
        if self.team.index == 0:
            file.finish(prompts)

    def _file(self, kept: Kept) -> AttackedFile:
        """The rows of all processes so far, each of which goes on in a file of its own; the first one in that
        of the attack."""
        path, state = attacked_path(kept.folder, self.run.name), self._state(kept)
        if self.team.count > 1 and not _only_text(self.run.attack):
            raise UsageError(f"{self.run.attack.name} changes the model; run it in one process")
        self.team.wait()
        if self.team.index == 0:
            file = AttackedFile(path, state)
            for other in sorted(path.parent.glob(f"{path.stem}.process-*.jsonl")):
                for row in AttackedFile(other, state).rows.values():
                    file.add(row)
                other.unlink()
        self.team.wait()
        if self.team.index:
            file = AttackedFile(path.with_name(f"{path.stem}.process-{self.team.index}.jsonl"), state)
            file.rows.update(AttackedFile(path, state).rows)
        self.team.wait()
        return file

    def _state(self, kept: Kept) -> str:
        attack, context = self.run.attack, self.context
        models = (kept.models.original, kept.models.hardened)
        parts = [attack.name, attack.version, attack.config.model_dump(mode="json"), *models]
        parts += [dict(attack.materials())]  # word lists and the like, by hash
        seen = attack.sees_pictures(context)
        parts += [_words(context.policy, with_detectors=seen), context.picture_seeds]
        return digest([*parts, kept.pictures] if seen else parts)[:32]

    def _row(self, result: AttackResult, took: float, state: str, kept: Kept) -> AttackedPrompt:
        item, attack = self.items[result.prompt], self.run.attack
        return AttackedPrompt(
            **{**asdict(result), "seconds": round(took, 3)},
            key=digest([state, result.prompt])[:32],
            state=state,
            attack=attack.name,
            settings=attack.config.model_dump(mode="json"),
            found_on=kept.models,
            picture_seeds=self.context.picture_seeds,
            concept=item.concept,
            cluster=item.cluster,
            anchor=item.anchor,
        )


def result_of(row: AttackedPrompt) -> AttackResult:
    """A row as the attack gave it."""
    own = {field.name: getattr(row, field.name) for field in fields(AttackResult)}
    return AttackResult(**{**own, "beside": tuple(Beside(**dict(each)) for each in row.beside)})


def _only_text(attack: Attack[Any]) -> bool:
    """Whether all that an attack does is in its texts. One that changes the model as well has to do that
    again."""
    return type(attack).changed is Attack.changed


def _words(policy: Policy, *, with_detectors: bool) -> list[Any]:
    left_out = _NOT_IN_A_STATE - ({"detectors", "detector_rule"} if with_detectors else set())
    return [concept.model_dump(mode="json", exclude=left_out) for concept in policy.concepts]


def check_seeds(seeds: Sequence[int] | None) -> None:
    """Seeds of attacks: distinct, not negative, at least one.

    Raises:
        UsageError: they are not.
    """
    if seeds is not None and (not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0):
        raise UsageError("attack seeds must be distinct and not negative, and at least one")
