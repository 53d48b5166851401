"""Several processes share a validation or an attack: rows, pictures and attacked prompts of one, bit for bit,
however often they stop and however many there are the next time."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetext_cli.main import run as cli
from support.minis import build_sd1
from support.team_case import Member, together
from support.validation_case import POLICY

import safetext_sdk as st
from safetext_sdk.attacks import Attack, AttackConfig, AttackContext, AttackResult
from safetext_sdk.errors import EXIT_USAGE, UsageError
from safetext_sdk.processes import share
from safetext_sdk.results.attacked_prompt import attacked_path, read_attacked
from safetext_sdk.results.report import UNFINISHED, Report, is_unfinished
from safetext_sdk.results.rows import ResultRow, read_rows
from safetext_sdk.validation.attack_run import AttackRun, Kept, Results
from safetext_sdk.validation.generate import PictureMaker
from safetext_sdk.validation.score import Scoring

Run = Callable[..., Report]


def test_everyone_has_a_part_in_whole_batches() -> None:
    work = list(range(11))
    parts = [share(Member(k, together(3, lambda m: m)[0].shared), work, 2) for k in range(3)]
    assert parts == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10]]


def test_rows_of_an_unfinished_report_are_known_by_name() -> None:
    assert is_unfinished(UNFINISHED)
    assert is_unfinished("results.partial.3.jsonl")
    assert not is_unfinished("results.jsonl")


def test_what_is_for_one_process_says_so(
    run: Run, original: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("safetext_sdk.validation.plan.check_ray", lambda *_: None)
    with pytest.raises(UsageError, match="use one of them"):
        run(ray="local")
    with pytest.raises(UsageError, match="in one process"):
        st.compare([original], policy, model=original)
    assert cli(["demo", "--quiet"]) == EXIT_USAGE


@pytest.fixture
def whole(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Report, Scoring, Any]:
    """A report of one process with an attack, and what made it."""
    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 4)
    kept: list[tuple[Scoring, Any]] = []
    real = Scoring.run

    def remember(self: Scoring, items: Any) -> tuple[ResultRow, ...]:
        kept.append((self, items))
        return real(self, items)

    monkeypatch.setattr(Scoring, "run", remember)
    n = {"unsafe": 3, "safe": 3, "borderline": 1}
    report = run(out=tmp_path / "whole", batch_size=2, attacks=["context"], n=n)
    monkeypatch.setattr(Scoring, "run", real)
    return report, *kept[0]


def member(scoring: Scoring, folder: Path, own: Member) -> Scoring:
    """The same of one process of a team, into another folder."""
    makers = {
        name: PictureMaker(
            m.model, folder / "images", settings=m.settings, batch_size=m.batch_size, processes=own.count
        )
        for name, m in scoring.makers.items()
    }
    for maker in makers.values():
        maker.pipe = copy.deepcopy(maker.pipe)  # a process has its own
    return Scoring(makers, scoring.detectors, folder, scoring.tell, team=own)


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


@pytest.mark.parametrize(("count", "overlapped"), [(2, False), (2, True), (3, False)])
def test_rows_and_pictures_of_several_are_those_of_one(
    whole: tuple[Report, Scoring, Any], tmp_path: Path, count: int, overlapped: bool
) -> None:
    report, scoring, items = whole
    folder = tmp_path / "shared"
    drawn: list[int] = [0] * count

    def work(own: Member) -> tuple[ResultRow, ...]:
        mine = replace(member(scoring, folder, own), overlapped=overlapped)
        for maker in mine.makers.values():
            real = maker.draw

            def counted(requests: Any, real: Any = real) -> Any:
                drawn[own.index] += len(requests)
                return real(requests)

            maker.draw = counted  # type: ignore[method-assign]
        return mine.run(items)

    found = together(count, work)
    assert all(rows == report.rows for rows in found)
    assert pictures(folder) == {
        k: v for k, v in pictures(tmp_path / "whole").items() if k in pictures(folder)
    }
    assert sum(drawn) == len(pictures(folder)), "nothing is drawn twice"
    assert min(drawn) > 0
    assert [p.name for p in folder.iterdir() if is_unfinished(p.name)] == [UNFINISHED], (
        "one file for all rows"
    )
    assert {r.key for r in read_rows(folder / UNFINISHED)} == {r.key for r in report.rows}


def test_several_that_were_killed_are_gone_on_with_by_one(
    whole: tuple[Report, Scoring, Any], tmp_path: Path
) -> None:
    report, scoring, items = whole
    folder = tmp_path / "killed"

    def dies(own: Member) -> Any:
        mine = member(scoring, folder, own)
        for maker in mine.makers.values():
            maker.draw = _dies_at(maker, 4)  # type: ignore[method-assign]
        return mine.run(items)

    with pytest.raises(KeyboardInterrupt):
        together(2, dies)
    left = [read_rows(path, partial=True) for path in folder.iterdir() if is_unfinished(path.name)]
    assert len(left) == 2
    assert 0 < sum(map(len, left)) < len(report.rows)
    there = pictures(folder)
    alone = replace(
        scoring, makers=member(scoring, folder, Member(0, together(1, lambda m: m)[0].shared)).makers
    )
    again = replace(alone, folder=folder)
    assert {r.key for r in again.run(items)} == {r.key for r in report.rows}
    assert there.items() <= pictures(folder).items()
    assert [p.name for p in folder.iterdir() if is_unfinished(p.name)] == [UNFINISHED]


def _dies_at(maker: PictureMaker, calls: int) -> Callable[..., Any]:
    real, made = maker.draw, [0]

    def draw(requests: Any) -> Any:
        made[0] += 1
        if made[0] > calls:
            raise KeyboardInterrupt
        return real(requests)

    return draw


class ShoutConfig(AttackConfig):
    prompts_at_once: int = 2


class Shout(Attack[ShoutConfig]):
    """Says how many prompts it was given at once, and by whom."""

    name = "shout"
    summary = "louder"
    Config = ShoutConfig

    def attack(self, prompts: Any, context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            yield AttackResult(prompt, (prompt.upper(),), queries=1, seconds=0.5)


def test_a_search_is_shared_and_every_process_has_all_of_it(
    whole: tuple[Report, Scoring, Any], original: Any, hardened: Any, policy: Any, tmp_path: Path
) -> None:
    _, scoring, items = whole
    by_prompt = {item.prompt: replace(item, set="shout") for item in items if item.set in ("unsafe", "safe")}
    prompts = list(by_prompt)
    models = Kept.of(tmp_path, scoring.makers, type("S", (), {"run": None, "original": original}))  # type: ignore[arg-type]
    context = AttackContext(original, hardened, policy)
    asked: list[list[str]] = [[], []]

    class Watched(Shout):
        def attack(self, prompts: Any, context: AttackContext) -> Iterator[AttackResult]:
            asked[own_of[id(self)]].extend(prompts)
            yield from super().attack(prompts, context)

    own_of: dict[int, int] = {}

    def work(own: Member) -> list[AttackResult]:
        attack = Watched()
        own_of[id(attack)] = own.index
        return list(Results(AttackRun(attack, "shout"), context, by_prompt, models, own).of(prompts))

    first, second = together(2, work)
    assert sorted(r.prompt for r in first) == sorted(r.prompt for r in second) == sorted(prompts)
    assert asked == [share(Member(k, together(2, lambda m: m)[0].shared), prompts, 2) for k in (0, 1)]
    rows, _ = read_attacked(attacked_path(tmp_path, "shout"))
    assert [row.prompt for row in rows] == prompts
    assert [path.name for path in (tmp_path / "attacks").iterdir()] == ["shout.jsonl"]
    asked[:] = [[], []]
    assert [r.texts for r in together(2, work)[1]] == [
        r.texts for r in sorted(second, key=lambda r: prompts.index(r.prompt))
    ]
    assert asked == [[], []], "what is known is not searched again"


def test_an_attack_that_changes_the_model_is_for_one_process(
    whole: tuple[Report, Scoring, Any], original: Any, hardened: Any, policy: Any, tmp_path: Path
) -> None:
    class Changes(Shout):
        def changed(self, prompts: Any, context: AttackContext) -> Any:
            return None

    _, scoring, _ = whole
    models = Kept.of(tmp_path, scoring.makers, type("S", (), {"run": None, "original": original}))  # type: ignore[arg-type]
    context = AttackContext(original, hardened, policy)
    with pytest.raises(UsageError, match="run it in one process"):
        together(
            2,
            lambda own: list(Results(AttackRun(Changes(), "shout"), context, {}, models, own).of(["a gun"])),
        )


@pytest.mark.slow
def test_two_launched_processes_write_the_report_of_one(tmp_path: Path) -> None:
    build_sd1(tmp_path / "model")
    (tmp_path / "policy.yaml").write_text(POLICY)
    tests = Path(__file__).parents[1]
    case = tests / "support" / "processes_case.py"
    paths = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    launch += ["--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--num_cpu_threads_per_process", "1", "--main_process_port", "0"]
    reports = []
    for start, name in (([sys.executable], "one"), (launch, "two")):
        done = subprocess.run(
            [*start, str(case), str(tmp_path), name],
            env={
                **os.environ,
                "ACCELERATE_USE_CPU": "true",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": paths,
            },
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        reports.append(Report.load(tmp_path / name))
        attacks = json.loads((tmp_path / f"{name}-attack" / "summary.json").read_text())["attacks"]
        assert attacks[0]["entry"]["prompts"] == 4
    one, two = reports
    assert two.rows == one.rows
    assert pictures(tmp_path / "two") == pictures(tmp_path / "one")
    for name in ("", "-attack"):
        rows = [read_rows(tmp_path / f"{run}{name}" / "results.jsonl") for run in ("one", "two")]
        assert rows[0] == rows[1]
        assert not [p for p in (tmp_path / f"two{name}").iterdir() if is_unfinished(p.name)]
