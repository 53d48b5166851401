"""Workers on a Ray cluster: actors that hold a pipeline each and take whole shards of the plan.

Ray places the actors, starts one again that died, and gives its shard to it once more. Here is only which
shard comes next: in order, not before those that it needs, and never more than two ahead of a worker. Rows
come back to this process, which alone appends them; a shard that was done twice is written once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import RunError, UsageError
from ..results.rows import ResultRow, RowFile
from .picture_store import PictureStore
from .ray_address import check_address
from .station import Station, identity

if TYPE_CHECKING:
    from .jobs import Job
    from .score import Scoring
    from .session import Session
    from .shards import Batch, Shard

AHEAD = 2
"""Shards that a worker has at once: the one it works on and the next."""
RESTARTS = 5
"""How often a worker may die, and a shard be begun, before the run stops."""


CLOSE = 10.0
"""Seconds that workers have to clear up; one in the middle of a shard is ended."""


class Worker:
    """What runs in an actor: a station at work."""

    def __init__(self, station: Station) -> None:
        self._made: Scoring | None = None
        self._store = PictureStore(station.pictures) if station.pictures is not None else None
        self._scratch: TemporaryDirectory[str] | None = None
        if self._store is not None:  # a folder of its own, until it is closed
            self._scratch = TemporaryDirectory(prefix="safetext-")
            station = replace(station, folder=Path(self._scratch.name))
        self._station = station

    @property
    def _scoring(self) -> Scoring:
        if self._made is None:
            self._made = self._station.scoring()
        return self._made

    def who(self) -> tuple[str, str, int]:
        """Identity of what it works with, its machine and its process."""
        return identity(self._scoring), socket.gethostname(), os.getpid()

    def close(self) -> None:
        """Leave nothing behind."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def draw(self, batches: Sequence[Batch], threads: bool) -> None:
        """See `Scoring.draw`."""
        paths = self._scoring.paths(batches)
        if self._store is not None:
            self._store.take(paths)
        self._scoring.draw(batches, threads)
        if self._store is not None:
            self._store.put(paths)

    def work(self, shard: Shard) -> list[str]:
        """Rows of a shard as lines of the file."""
        if self._store is not None:
            self._store.take(self._scoring.seen(shard))
        rows = self._scoring.work(shard)
        if self._store is not None:
            self._store.put(self._scoring.paths(shard.batches))
        return [row.line() for row in rows]


@dataclass
class RayCrew:
    """Workers on a cluster, for as long as the ``with`` lasts.

    Args:
        address: ``auto`` (the cluster that this machine belongs to), ``local`` (one on this machine), or what
            `ray.init` takes.
        station: what they work on.
        workers: how many; None: as many as the cluster has room for.

    Raises:
        UsageError: an address that is none, or no room for a worker.
        RunError: no cluster there (`ray_address`), or Ray does not start; a worker has other models, another
            precision or other judges than this process.
    """

    address: str
    station: Station
    workers: int | None = None
    pids: list[tuple[str, int]] = field(default_factory=list, init=False)
    """Machine and process of every worker."""
    taken: list[int] = field(default_factory=list, init=False)
    """Shards that every worker has done."""
    _actors: list[Any] = field(default_factory=list, init=False)
    _ours: bool = field(default=False, init=False)

    @cached_property
    def _store(self) -> PictureStore | None:
        return PictureStore(self.station.pictures) if self.station.pictures is not None else None

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._actors and not self._ours:
            return
        import ray

        if self._store is not None and self._actors:
            ray.wait(
                [actor.close.remote() for actor in self._actors], num_returns=len(self._actors), timeout=CLOSE
            )
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._ours:
            ray.shutdown()

    def work(self, scoring: Scoring, jobs: Sequence[Job], file: RowFile, earlier: Sequence[Job] = ()) -> None:
        """Draw and score jobs that have no row yet; rows are in the file as soon as they are known.

        Args:
            scoring: of this process; pictures of models that an attack changed are drawn here.
            jobs: one round of the plan.
            earlier: jobs of the rounds before, all done.
        """
        shards = scoring.shards(jobs, earlier)
        todo = [
            shard for shard in shards if not all(scoring.usable(file.rows.get(j.key)) for j in shard.jobs)
        ]
        total = len(earlier) + len(jobs)
        done = total - sum(len(shard.jobs) for shard in todo)
        scoring.tell("pictures", done, total)
        if not todo:
            return
        self._hire(scoring, len(todo))
        if self._store is not None:  # of an earlier run, or of a model that workers do not have
            self._store.put(path for shard in todo for path in scoring.seen(shard))
        self._draw_ahead(scoring, [job for shard in todo for job in shard.jobs], jobs)

        def add(shard: Shard, rows: Sequence[ResultRow]) -> None:
            nonlocal done
            if self._store is not None:
                self._store.put(scoring.paths(shard.batches))
                self._store.take(scoring.paths(shard.batches))
            wanted = {j.key for j in shard.jobs if not scoring.usable(file.rows.get(j.key))}
            file.add([row for row in rows if row.key in wanted])
            done += len(shard.jobs)
            scoring.tell("pictures", done, total)

        self._take(scoring, todo, {shard.number for shard in shards} - {shard.number for shard in todo}, add)

    def _take(
        self,
        scoring: Scoring,
        waiting: list[Shard],
        done: set[int],
        add: Callable[[Shard, Sequence[ResultRow]], None],
    ) -> None:
        import ray

        flying: dict[Any, tuple[Shard, int]] = {}
        busy = [0] * len(self._actors)
        while waiting or flying:
            while min(busy) < AHEAD and (shard := _next(waiting, done)) is not None:
                waiting.remove(shard)
                if any((job.item.set, job.model) in scoring.changed for job in shard.jobs):
                    add(shard, scoring.work(shard))
                    done.add(shard.number)
                    continue
                who = busy.index(min(busy))
                flying[self._actors[who].work.remote(shard)] = (shard, who)
                busy[who] += 1
            if not flying:
                continue
            for ref in ray.wait(list(flying), num_returns=1)[0]:
                shard, who = flying.pop(ref)
                busy[who] -= 1
                self.taken[who] += 1
                rows = [ResultRow.model_validate_json(line, strict=True) for line in self._get(ref)]
                add(shard, rows)
                done.add(shard.number)

    def _draw_ahead(self, scoring: Scoring, todo: Sequence[Job], jobs: Sequence[Job]) -> None:
        """Pictures that judges of kept compare with: every shard may look at any of them."""
        batches = scoring.batches_ahead(jobs) if scoring.batches_ahead(todo) else []
        step = self.station.pipelines
        parts = [batches[start : start + step] for start in range(0, len(batches), step)]
        flying = [
            self._actors[number % len(self._actors)].draw.remote(part, len(batches) > 1)
            for number, part in enumerate(parts)
        ]
        for number, ref in enumerate(flying):
            self._get(ref)
            scoring.tell("pictures of another seed", number + 1, len(flying))
        if self._store is not None:
            self._store.take(scoring.paths(batches))

    def _hire(self, scoring: Scoring, shards: int) -> None:
        """Connect and start workers, the first time."""
        if self._actors:
            return
        import ray

        if not ray.is_initialized():
            check_address(self.address)
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
            except ConnectionError as error:
                raise RunError(f"no Ray cluster at {self.address!r}: {error}") from error
            except ValueError as error:
                raise UsageError(f"Ray does not take the address {self.address!r}: {error}") from error
            except Exception as error:  # of whatever class Ray raises where a node does not start or answer
                raise RunError(f"Ray does not start or answer at {self.address!r}: {error}") from error
            self._ours = True
        room = ray.cluster_resources()
        gpu = self.station.device != "cpu" and room.get("GPU", 0) >= 1
        cpus = 1 if gpu else self.station.pipelines
        fit = int(room["GPU"]) if gpu else int(room.get("CPU", 0) // cpus)
        count = min(fit if self.workers is None else self.workers, shards)
        if count < 1:
            raise UsageError(f"the cluster has no room for a worker of {cpus} CPU cores")
        options = {"num_cpus": cpus, "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        actor = ray.remote(Worker).options(**options, num_gpus=1 if gpu else 0)
        self._actors = [actor.remote(self.station) for _ in range(count)]
        self.taken = [0] * count
        mine = identity(scoring)
        for found, host, pid in (self._get(each.who.remote()) for each in self._actors):
            if found != mine:
                raise RunError(
                    f"the worker on {host} has other models, judges or another precision than this process; "
                    "give --precision and --device"
                )
            self.pids.append((host, pid))

    def _get(self, ref: Any) -> Any:
        from ray import get
        from ray.exceptions import RayActorError, RayTaskError

        try:
            return get(ref)
        except RayActorError as error:
            raise RunError(
                f"a worker died {RESTARTS + 1} times; its rows so far are kept, and the same command goes on "
                f"({' '.join(str(error).split())[:300]})"
            ) from error
        except RayTaskError as error:
            raise RunError(f"a worker failed: {error.cause or error}") from error


@contextmanager
def crew_of(session: Session) -> Iterator[RayCrew | None]:
    """The workers that a session's plan asks for; None: this process works alone.

    Raises:
        UsageError: models that nobody else can load.
    """
    if session.plan.ray is None:
        yield None
        return
    with RayCrew(session.plan.ray, Station.of(session)) as crew:
        yield crew


def _next(waiting: Sequence[Shard], done: set[int]) -> Shard | None:
    return next((shard for shard in waiting if shard.needs <= done), None)
