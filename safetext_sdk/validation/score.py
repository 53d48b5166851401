"""Pictures to rows: made in batches, scored by every detector, on disk as soon as they are scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from ..detectors.detector_set import DetectorSet
from ..processes import Alone, Team, share
from ..results.kept import KeptVote, kept_by_all
from ..results.packed_rows import keeper
from ..results.rows import Model, PictureChange, ResultRow, RowFile
from .first_hit import rounds
from .generate import PictureMaker, Request, open_picture
from .images import change
from .items import Item
from .jobs import Job, request_of
from .keep import Keeping
from .keys import digest
from .session import Step
from .shards import Batch, Shard, cut
from .shared_rows import SharedRows

SCORED_AT_ONCE = 64


class Crew(Protocol):
    """Workers elsewhere that take shards."""

    def work(self, scoring: Scoring, jobs: Sequence[Job], file: RowFile, earlier: Sequence[Job] = ()) -> None:
        """Draw and score jobs that have no row yet, and add their rows to the file; ``earlier``: jobs of
        earlier rounds of the plan, all done."""
        ...


@dataclass(frozen=True)
class Take:
    """What is drawn and scored in one go.

    Attributes:
        make: draws its pictures.
        done: rows there will be when it is scored, of this round and those before.
    """

    make: Callable[[], None]
    jobs: Sequence[Job]
    done: int


@dataclass(frozen=True)
class Scoring:
    """Who makes and who scores the pictures of a report folder. ``keeping``: who tells "kept", where the
    detectors do not. ``changed``: who draws a set whose attack changed the model, by set and model.
    ``overlapped``: score in a thread of its own while the next pictures are drawn; None: where a model is not
    on the CPU. On a CPU drawing takes all cores anyway, and a detector that has another number of threads
    gives other last digits. ``team``: the processes that share the work; all get all rows."""

    makers: Mapping[str, PictureMaker]
    detectors: DetectorSet
    folder: Path
    tell: Step
    keeping: Keeping | None = None
    changed: Mapping[tuple[str, Model], PictureMaker] = field(default_factory=dict)
    overlapped: bool | None = None
    team: Team = field(default_factory=Alone)
    crew: Crew | None = None
    """Workers elsewhere that do it; None: this process, or its team."""

    def maker(self, model: Model, set_: str) -> PictureMaker:
        """Who draws the pictures of a set."""
        return self.changed.get((set_, model), self.makers[model])

    def jobs(self, items: Sequence[Item]) -> list[Job]:
        """Every item for both models (controls for the original alone), each once, with a key over all that
        its row depends on."""
        described = [entry.model_dump(mode="json") for entry in self.detectors.describe()]
        out: dict[str, Job] = {}
        models: tuple[Model, ...] = ("original", "hardened")
        for model in models:
            for item in items:
                if item.is_control and model == "hardened":
                    continue
                parts = [self.maker(model, item.set).key(request_of(item)), model, described, asdict(item)]
                if self.keeping is not None:
                    parts += self.keeping.depends_on(item)
                key = digest(parts)[:32]
                out[key] = Job(key, model, item)
        return list(out.values())

    def run(self, items: Sequence[Item]) -> tuple[ResultRow, ...]:
        """Make and score what is not there yet; the rows in the order of the items, without texts that the
        undefended model is spared (`first_hit`).

        New rows go to a file beside the report (`SharedRows`): a report that lies there stays whole until the
        new one takes its place.
        """
        jobs = self.jobs(items)
        rows = SharedRows(self.folder, self.team, keeper(len(jobs)))
        asked: list[Job] = []
        for part in rounds(jobs, rows.known):
            if self.crew is not None:
                self.crew.work(self, part, rows.file, asked)
            elif self.team.count == 1:
                todo = [job for job in part if not self.usable(rows.known.get(job.key))]
                self._round(todo, rows.file, len(asked) + len(part) - len(todo), len(asked) + len(part))
            else:
                self._our_part(part, rows.file, asked)
                rows.gather()
            asked += part
        rows.close()
        wanted = {job.key for job in asked}
        return tuple(rows.known[job.key] for job in jobs if job.key in wanted)

    def _our_part(self, part: Sequence[Job], file: RowFile, earlier: Sequence[Job]) -> None:
        """This process's share of a round, in whole batches; rows of shards that are done stay."""
        self.draw(share(self.team, self.batches_ahead(part)))
        self.team.wait()
        done, total, steps = len(earlier), len(earlier) + len(part), []
        for shard in share(self.team, self.shards(part, earlier)):
            done = min(total, done + len(shard.jobs) * self.team.count)  # the others are about as far
            if not all(self.usable(file.rows.get(job.key)) for job in shard.jobs):
                steps.append(Take(partial(self._draw_shard, shard), shard.jobs, done))
        self._take(steps, file, total)
        self.tell("pictures", total, total)

    def _draw_shard(self, shard: Shard) -> None:
        self.draw(shard.batches)
        self._wait_for_pictures(shard)

    def _wait_for_pictures(self, shard: Shard) -> None:
        """Others may still be drawing what an earlier shard shows as well."""
        for job in shard.jobs:
            for path in (self._painter(job).path(job.request), *self._looks(job)):
                while not path.is_file():
                    time.sleep(0.05)

    def _round(self, todo: Sequence[Job], file: RowFile, done: int, total: int) -> None:
        """Make, score and write one round of jobs."""
        if self.keeping is not None:
            self.keeping.ensure([job.item for job in todo], self.tell)
        self.tell("pictures", done, total)
        steps = []
        for start in range(0, len(todo), self.at_once):
            jobs, before = todo[start : start + self.at_once], done + start
            steps.append(Take(partial(self._make, jobs, before, total), jobs, before + len(jobs)))
        self._take(steps, file, total)

    def _take(self, steps: Sequence[Take], file: RowFile, total: int) -> None:
        """Draw, score and write one step after the other."""
        if self._overlaps and len(steps) > 1:
            self._side_by_side(steps, file, total)
            return
        for step in steps:
            step.make()
            file.add(self._score(step.jobs))
            self.tell("pictures", step.done, total)

    @property
    def at_once(self) -> int:
        """Jobs that are drawn and then scored together."""
        return max(SCORED_AT_ONCE, *(maker.batch_size * maker.workers for maker in self.makers.values()))

    def shards(self, jobs: Sequence[Job], earlier: Sequence[Job] = ()) -> list[Shard]:
        """All jobs of a plan, or of one round of it, cut as `run` would take them where nothing is there yet;
        ``earlier``: jobs of the rounds before."""
        return cut(jobs, self.at_once, self._painter, self._looks, earlier)

    def batches_ahead(self, jobs: Sequence[Job]) -> list[Batch]:
        """What has to be drawn before the first shard: pictures that judges of kept compare with."""
        if self.keeping is None:
            return []
        wanted, size = self.keeping.others([job.item for job in jobs]), self.keeping.maker.batch_size
        cuts = [tuple(wanted[start : start + size]) for start in range(0, len(wanted), size)]
        return [Batch("original", "", part) for part in cuts]

    def draw(self, batches: Sequence[Batch], threads: bool | None = None) -> None:
        """Draw batches of which a picture is missing, whole as the plan has them; what is there stays.

        Args:
            threads: as if they were a part of several batches; None: if they are several.
        """
        asked: dict[PictureMaker, list[Sequence[Request]]] = {}
        for batch in batches:
            asked.setdefault(self.maker(batch.model, batch.set), []).append(batch.requests)
        for maker, parts in asked.items():
            maker.ensure_batches(parts, threads)

    def paths(self, batches: Sequence[Batch]) -> list[Path]:
        """Files of the pictures of batches."""
        return [
            self.maker(each.model, each.set).path(request) for each in batches for request in each.requests
        ]

    def seen(self, shard: Shard) -> list[Path]:
        """Every picture that a shard draws or looks at."""
        own = [self._painter(job).path(job.request) for job in shard.jobs]
        return [*self.paths(shard.batches), *own, *(path for job in shard.jobs for path in self._looks(job))]

    def work(self, shard: Shard) -> list[ResultRow]:
        """Draw and score one shard; the pictures of those that it needs must be there."""
        self.draw(shard.batches)
        return self._score(shard.jobs)

    def _painter(self, job: Job) -> PictureMaker:
        return self.maker(job.model, job.item.set)

    def _looks(self, job: Job) -> list[Path]:
        looks = []
        if job.model == "hardened" and job.item.label != "unsafe":
            looks.append(self.maker("original", job.item.set).path(job.request))
        if self.keeping is not None and job.item.asks_kept:
            looks += self.keeping.looks_at(job.item)
        return looks

    @property
    def _overlaps(self) -> bool:
        if self.overlapped is not None:
            return self.overlapped
        return any(maker.model.device.type != "cpu" for maker in self.makers.values())

    def _side_by_side(self, steps: Sequence[Take], file: RowFile, total: int) -> None:
        """Pictures of one step are drawn while those of the step before are scored; never more than one step
        waits. What was scored is on disk even if the next step cannot be drawn."""
        with ThreadPoolExecutor(1, "detectors") as scorer:
            scored: Future[list[ResultRow]] | None = None
            try:
                for step in steps:
                    step.make()
                    if scored is not None:
                        file.add(scored.result())
                    scored = scorer.submit(self._score, step.jobs)
            finally:
                if scored is not None:
                    file.add(scored.result())
        self.tell("pictures", steps[-1].done, total)

    def usable(self, row: ResultRow | None) -> bool:
        """Whether a row is there, with its picture."""
        return row is not None and (self.folder / row.image).is_file()

    def _make(self, part: Sequence[Job], before: int, total: int) -> None:
        made = 0

        def count(pictures: int) -> None:
            nonlocal made
            made += pictures
            self.tell("pictures", before + made, total)

        asked: dict[PictureMaker, list[Request]] = {}
        for job in part:
            asked.setdefault(self.maker(job.model, job.item.set), []).append(job.request)
        for maker, requests in asked.items():
            maker.ensure(requests, count)

    def _score(self, part: Sequence[Job]) -> list[ResultRow]:
        paths = [self.maker(job.model, job.item.set).path(job.request) for job in part]
        images = [open_picture(path) for path in paths]
        detectors, out = self.detectors, []
        told = self.keeping.votes([job.item for job in part], images) if self.keeping is not None else None
        found_all = detectors.score(images)
        for k, (job, path, image, found) in enumerate(zip(part, paths, images, found_all, strict=True)):
            item = job.item
            asked = detectors.expected(item.prompt) if item.asks_kept else ()
            goal = detectors.expected(item.anchor) if item.anchor else ()
            # Judged on the very numbers that are written down, so that a row can be checked later.
            scores = detectors.trim(found, [*asked, *goal])
            votes: tuple[KeptVote, ...] = detectors.kept_votes(scores, item.prompt) if asked else ()
            if told is not None:
                votes = told[k]
            moved = None
            if job.model == "hardened" and item.label != "unsafe":
                original = self.maker("original", item.set).path(job.request)
                if original.is_file():
                    moved = PictureChange(**change(open_picture(original), image))
            out.append(
                ResultRow(
                    key=job.key,
                    model=job.model,
                    set=item.set,
                    label=item.label,
                    concept=item.concept,
                    cluster=item.cluster,
                    anchor=item.anchor,
                    prompt=item.prompt,
                    origin=item.origin,
                    negative_prompt=item.negative_prompt,
                    guidance=item.guidance,
                    seed=item.seed,
                    image=path.relative_to(self.folder).as_posix(),
                    scores=scores,
                    detectors=dict(detectors.versions),
                    unsafe=bool(detectors.unsafe(scores)),
                    shows=detectors.shows(scores, asked or goal),
                    expected=tuple(asked),
                    kept=kept_by_all(votes),
                    kept_by=votes,
                    anchor_shown=detectors.kept(scores, item.anchor) if item.anchor and goal else None,
                    change=moved,
                )
            )
        return out
