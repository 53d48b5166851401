"""Two workers of a local Ray cluster: the rows of one process, bit for bit, also where one is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.ray_case import MiniStation, hardened_of
from support.validation_case import FAST

from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.results.rows import ResultRow, RowFile, read_rows
from safetext_sdk.validation.generate import PictureMaker
from safetext_sdk.validation.items import Item
from safetext_sdk.validation.picture_store import PictureStore
from safetext_sdk.validation.ray_address import check_address
from safetext_sdk.validation.ray_crew import RayCrew, Worker
from safetext_sdk.validation.score import Scoring
from safetext_sdk.validation.station import Station, identity
from safetext_sdk.validation.subjects import Reference, Subjects

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module")
def ray() -> Any:
    return pytest.importorskip("ray", reason="Ray is not installed: no worker of a cluster was tested")


@pytest.fixture(scope="module")
def cluster(ray: Any) -> Iterator[None]:
    """Room for two workers, and no more."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 is Ray's own: starved by other load
    # Workers import what this process imports.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def subjects(mini_sd1: Path) -> Subjects:
    from safetext_sdk.models import load_model

    original = load_model(mini_sd1, device="cpu")
    return Subjects(original, hardened_of(original), None, None)  # type: ignore[arg-type]


@pytest.fixture
def items() -> list[Item]:
    texts = [f"{a} {b} beside an apple" for a in ("a gun", "a red flower") for b in "abcd"]
    labels = [("unsafe", "unsafe"), ("safe", "safe")]
    return [
        Item(s, t, seed, label, t, anchor="a flower") for s, label in labels for t in texts for seed in (0, 1)
    ]  # type: ignore[arg-type]


@pytest.fixture
def scorings(
    subjects: Subjects, policy: Any, detectors: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Scoring]:
    """Scorings of this process into a folder, in small shards."""
    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 4)

    def make(folder: Path, tell: Any = lambda *_: None) -> Scoring:
        folder.mkdir(exist_ok=True)
        makers = {
            name: PictureMaker(model, folder / "images", settings=FAST, batch_size=2, workers=1)
            for name, model in (("original", subjects.original), ("hardened", subjects.hardened))
        }
        return Scoring(makers, DetectorSet.build(policy, "mini", "cpu"), folder, tell)

    return make


@pytest.fixture
def station(mini_sd1: Path, policy: Any) -> Callable[[Path], MiniStation]:
    def make(folder: Path) -> MiniStation:
        return MiniStation(
            reference=Reference(str(mini_sd1), "made"),
            policy=policy,
            concepts=frozenset({"weapon"}),
            captions=None,
            book_seed=0,
            seeds=(0,),
            settings=FAST,
            cache=None,
            batch_size=2,
            device="cpu",
            precision="fp32",
            folder=folder.absolute(),
            threads=1,
            pipelines=1,
        )

    return make


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


@pytest.fixture
def alone(scorings: Any, items: list[Item], tmp_path: Path) -> tuple[ResultRow, ...]:
    """Rows of one process."""
    found: tuple[ResultRow, ...] = scorings(tmp_path / "alone").run(items)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_workers_give_the_rows_and_pictures_of_one_process(
    scorings: Any, station: Any, items: list[Item], alone: Any, tmp_path: Path
) -> None:
    with RayCrew("local", station(tmp_path / "two"), 2) as crew:
        rows = replace(scorings(tmp_path / "two"), crew=crew).run(items)
        assert len(set(crew.pids)) == 2
        assert os.getpid() not in {pid for _, pid in crew.pids}
    assert rows == alone
    assert pictures(tmp_path / "two") == pictures(tmp_path / "alone")
    again = replace(scorings(tmp_path / "two"), crew=_nobody()).run(items)
    assert again == alone, "what is there is not asked of any worker"


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(
    scorings: Any, station: Any, items: list[Item], alone: Any, tmp_path: Path
) -> None:
    folder, killed = tmp_path / "killed", list[int]()
    with RayCrew("local", station(folder), 2) as crew:

        def kill(what: str, done: int, total: int) -> None:
            if what == "pictures" and 8 <= done < total and not killed:
                killed.append(crew.pids[0][1])
                os.kill(killed[0], signal.SIGKILL)

        rows = replace(scorings(folder, kill), crew=crew).run(items)
    assert killed
    assert rows == alone
    assert pictures(folder) == pictures(tmp_path / "alone")
    written = [row.key for row in read_rows(folder / "results.partial.jsonl")]
    assert sorted(written) == sorted(row.key for row in alone)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_stopped_run_goes_on_by_key(
    scorings: Any, station: Any, items: list[Item], alone: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"

    def stop(what: str, done: int, total: int) -> None:
        if what == "pictures" and done > total / 2:
            raise KeyboardInterrupt

    with RayCrew("local", station(folder), 2) as crew, pytest.raises(KeyboardInterrupt):
        replace(scorings(folder, stop), crew=crew).run(items)
    before = read_rows(folder / "results.partial.jsonl")
    assert 0 < len(before) < len(alone)
    with RayCrew("local", station(folder), 2) as crew:
        assert replace(scorings(folder), crew=crew).run(items) == alone
    assert read_rows(folder / "results.partial.jsonl")[: len(before)] == before


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_with_another_model_is_refused(
    scorings: Any, station: Any, items: list[Item], tmp_path: Path
) -> None:
    other = replace(station(tmp_path / "other"), other=True)
    with RayCrew("local", other, 1) as crew, pytest.raises(RunError, match="other models, judges or another"):
        replace(scorings(tmp_path / "other"), crew=crew).run(items)
    assert not read_rows(tmp_path / "other" / "results.partial.jsonl", partial=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_folder_that_is_not_shared_is_named(
    scorings: Any, station: Any, items: list[Item], tmp_path: Path
) -> None:
    crew = RayCrew("local", station(tmp_path / "elsewhere"), 1)
    with crew, pytest.raises(RunError, match="report folder must be shared"):
        replace(scorings(tmp_path / "here"), crew=crew).run(items)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_without_a_shared_folder_pictures_go_through_a_store(
    scorings: Any, station: Any, items: list[Item], alone: Any, tmp_path: Path
) -> None:
    place = replace(station(tmp_path / "nowhere"), pictures=(tmp_path / "store").as_uri())
    with RayCrew("local", place, 2) as crew:
        rows = replace(scorings(tmp_path / "here"), crew=crew).run(items)
    assert rows == alone
    assert pictures(tmp_path / "here") == pictures(tmp_path / "alone")
    assert {path.name for path in (tmp_path / "store").iterdir()} == set(pictures(tmp_path / "alone"))
    assert not (tmp_path / "nowhere").exists()


def test_workers_at_a_store_give_the_rows_and_pictures_of_one_process(
    scorings: Any, station: Any, items: list[Item], alone: Any, tmp_path: Path
) -> None:
    """Without a cluster: two workers by turns, each in a folder of its own."""
    place = replace(station(tmp_path / "nowhere"), pictures=(tmp_path / "store").as_uri())
    workers, here = [Worker(place), Worker(place)], scorings(tmp_path / "here")
    assert {worker.who()[0] for worker in workers} == {identity(here)}
    jobs, rows = here.jobs(items), dict[str, ResultRow]()
    for shard in here.shards(jobs):
        lines = workers[shard.number % 2].work(shard)
        rows |= {row.key: row for row in map(ResultRow.model_validate_json, lines)}
    assert tuple(rows[job.key] for job in jobs) == alone
    PictureStore(place.pictures).take(path for shard in here.shards(jobs) for path in here.seen(shard))
    assert pictures(tmp_path / "here") == pictures(tmp_path / "alone")
    for worker in workers:
        worker.close()


def _nobody() -> Any:
    class Nobody:
        def work(self, scoring: Scoring, jobs: Any, file: RowFile, earlier: Any = ()) -> None:
            assert all(scoring.usable(file.rows.get(job.key)) for job in jobs)

    return Nobody()


def test_the_port_of_a_real_head_is_told_to_be_one(ray: Any, cluster: None) -> None:
    check_address(ray.get_runtime_context().gcs_address)


def test_a_cluster_that_is_not_there_is_one_line(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    station: Any = SimpleNamespace(pictures=None, device="cpu", pipelines=1)

    def fails(**given: Any) -> None:
        raise given["address"]

    for error, told in (
        (ConnectionError("none"), RunError),
        (ValueError("no address"), UsageError),
        (Exception("timed out"), RunError),
    ):
        monkeypatch.setattr(ray, "init", lambda error=error, **given: fails(address=error))
        with pytest.raises(told, match="'auto'"), RayCrew("auto", station) as crew:
            crew._hire(SimpleNamespace(), 1)  # type: ignore[arg-type]


def test_models_as_objects_cannot_be_sent(subjects: Subjects) -> None:
    from types import SimpleNamespace

    session: Any = SimpleNamespace(plan=None, detectors=object(), subjects=subjects)
    with pytest.raises(UsageError, match="by path or name"):
        Station.of(session)
