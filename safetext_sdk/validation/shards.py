"""A plan cut into shards: what one process, or one worker of many, does in one go.

The cut is made over the **whole** plan, before anything is handed out and whatever is there already: a
picture is drawn in the same batch and a row scored beside the same rows, however many workers there are and
however often a run was stopped. At equal device kind and thread count the rows are those of one process, bit
for bit.

A picture that several jobs ask for belongs to the shard that asks first; the others **need** that shard.
Shards only ever need earlier ones, so whoever takes them in order never waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..results.rows import Model
    from .generate import PictureMaker, Request
    from .jobs import Job

DONE = -1
"""Number of no shard: what earlier rounds have drawn."""
Painter = Callable[["Job"], "PictureMaker"]
"""Who draws the picture of a job."""
Looks = Callable[["Job"], Sequence[Path]]
"""Further pictures that scoring a job looks at, e.g. the original's."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one call of a pipeline.

    Attributes:
        model, set: whose pipeline, as `Scoring.maker` takes them.
    """

    model: Model
    set: str
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Shard:
    """Jobs whose pictures are drawn and then scored together.

    Attributes:
        number: place in the plan, from 0.
        batches: what it draws: whole batches, each one call of a pipeline.
        needs: numbers of earlier shards whose pictures it looks at.
    """

    number: int
    jobs: tuple[Job, ...]
    batches: tuple[Batch, ...]
    needs: frozenset[int] = frozenset()


def cut(
    jobs: Sequence[Job],
    size: int,
    painter: Painter,
    looks: Looks = lambda job: (),
    earlier: Sequence[Job] = (),
) -> list[Shard]:
    """All jobs of a plan as shards, in order; every picture is drawn by exactly one of them.

    Args:
        jobs: of the whole plan, those that are done included.
        size: jobs of a shard: as many as one process scores at once.
        painter: who draws; its ``batch_size`` cuts the batches.
        looks: pictures that scoring a job needs beside its own.
        earlier: jobs of earlier rounds of the plan, all done: their pictures are drawn by nobody again.
    """
    owner = {painter(job).path(job.request): DONE for job in earlier}
    shards: list[Shard] = []
    for number, start in enumerate(range(0, len(jobs), size)):
        part = jobs[start : start + size]
        paths = [painter(job).path(job.request) for job in part]
        drawn = []
        for job, path in zip(part, paths, strict=True):
            if path not in owner:
                owner[path] = number
                drawn.append(job)
        seen = [*paths, *(path for job in part for path in looks(job))]
        needs = frozenset(owner[path] for path in seen if owner.get(path, number) not in (number, DONE))
        shards.append(Shard(number, tuple(part), tuple(batches(drawn, painter)), needs))
    return shards


def batches(jobs: Sequence[Job], painter: Painter) -> Iterator[Batch]:
    """Jobs with distinct pictures as `PictureMaker.ensure` would draw them: by who draws, then by guidance,
    which is one number a call."""
    asked: dict[PictureMaker, list[Job]] = {}
    for job in jobs:
        asked.setdefault(painter(job), []).append(job)
    for maker, own in asked.items():
        for guidance in dict.fromkeys(job.request.guidance for job in own):
            alike = [job for job in own if job.request.guidance == guidance]
            for start in range(0, len(alike), maker.batch_size):
                part = alike[start : start + maker.batch_size]
                yield Batch(part[0].model, part[0].item.set, tuple(job.request for job in part))
