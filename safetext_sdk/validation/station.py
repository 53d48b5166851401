"""What another process needs to draw and score as this one does: where the models are and how pictures are
made and judged, small enough to be sent. Whoever works at a station proves first that it has the same models,
precision and judges."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..detectors.detector_set import DetectorSet
from ..detectors.kept.base import Caption, JudgeContext
from ..detectors.kept.judge_set import KeptJudges
from ..errors import UsageError
from .generate import PictureMaker, Settings
from .keep import Keeping
from .keys import digest
from .score import Scoring
from .session import captions_of
from .subjects import Reference, Subjects

if TYPE_CHECKING:
    from ..policy import Policy
    from .session import Session


@dataclass(frozen=True)
class Station:
    """One validation, or one attack, as others work on it.

    Attributes:
        reference: the models, by path or name.
        policy: what pictures are judged by.
        concepts: those that have detectors.
        captions: safe prompts that judges of kept tell from; None where detectors tell.
        folder: report folder; every worker must see it under this path, but with ``pictures``.
        pictures: where pictures are kept in the place of a shared folder, see `PictureStore`.
        threads, pipelines: torch threads, and batches at once, as in the process that asks.
    """

    reference: Reference
    policy: Policy
    concepts: frozenset[str]
    captions: tuple[Caption, ...] | None
    book_seed: int
    seeds: tuple[int, ...]
    settings: Settings | None
    cache: Path | None
    batch_size: int
    device: str
    precision: str
    folder: Path
    threads: int
    pipelines: int
    pictures: str | None = None

    @classmethod
    def of(cls, session: Session) -> Station:
        """Of a session that is prepared.

        Raises:
            UsageError: a model was given as an object: nobody else can load it.
        """
        plan, detectors, reference = session.plan, session.detectors, session.subjects.reference
        assert detectors is not None
        if reference is None:
            raise UsageError("workers load the models themselves: give them by path or name, not as objects")
        # A card of this machine says nothing about those of another.
        device = "cuda" if plan.device.startswith("cuda") else plan.device
        return cls(
            reference=reference,
            policy=session.policy,
            concepts=frozenset(entry.concept for entry in detectors.describe()),
            captions=captions_of(session.book) if session.judges is not None else None,
            book_seed=session.book_seed,
            seeds=tuple(plan.seeds),
            settings=plan.settings,
            cache=Path(plan.cache).absolute() if plan.cache is not None else None,
            batch_size=plan.batch_size,
            device=device,
            precision=plan.precision,
            folder=session.folder.absolute(),
            threads=torch.get_num_threads(),
            pipelines=session.makers["original"].workers,
            pictures=plan.pictures,
        )

    def load(self) -> Subjects:
        """The models."""
        return self.reference.load(self.policy, self.device, self.precision)

    def scoring(self) -> Scoring:
        """What draws and scores here; loads models and detectors.

        Raises:
            UsageError: the report folder is not there.
        """
        torch.set_num_threads(self.threads)
        if not self.folder.is_dir():
            raise UsageError(f"this worker does not see {self.folder}; the report folder must be shared")
        subjects = self.load()
        model_id = subjects.original.id
        makers = {
            name: PictureMaker(
                model,
                self.folder / "images",
                settings=self.settings,
                cache=self.cache if name == "original" else None,
                batch_size=self.batch_size,
                workers=self.pipelines,
            )
            for name, model in (("original", subjects.original), ("hardened", subjects.hardened))
        }
        detectors = DetectorSet.build(self.policy, model_id, self.device, self.concepts)
        keeping = None
        if self.captions is not None:
            context = JudgeContext(self.captions, self.book_seed, self.device)
            judges = KeptJudges.build(self.policy, model_id, context)
            keeping = Keeping.of(judges, makers["original"], self.seeds)
        return Scoring(makers, detectors, self.folder, lambda what, done, total: None, keeping)


def identity(scoring: Scoring) -> str:
    """Hash of all that a row depends on beside its question."""
    makers = {
        name: [maker.fingerprint, str(maker.model.dtype), asdict(maker.settings)]
        for name, maker in scoring.makers.items()
    }
    judges = [entry.model_dump(mode="json") for entry in scoring.detectors.describe()]
    if scoring.keeping is not None:
        judges += [entry.model_dump(mode="json") for entry in scoring.keeping.judges.describe()]
    return digest([makers, judges])
