"""How the library carries large plans.

    python benchmarks/scale.py rows --n 100000
    python benchmarks/scale.py workers --tasks 1000

``rows``: gate, summary and report over a made report of ``--n`` rows: two picture seeds, plain sets, three
attacks with controls, two detectors, votes on "kept", the same every time. Pictures are links to a few small
ones (``--no-pictures``: none, and the gate allows that). Every stage runs in one process of its own, whose
seconds (of the clock and of the CPU) and peak memory are printed. ``--dir`` keeps the folder.

``workers``: the same plan on 1 to 8 workers of a local Ray cluster whose pipeline only waits (``--ms`` a
picture, ``--task`` pictures a task): how much longer than the waiting it takes, what a task costs the process
that hands it out, and whether all workers get their share. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

PLAIN = ("unsafe", "safe", "safe_unseen", "borderline", "negative", "negative_unsafe")
ATTACKS = ("context", "typos", "paraphrase")
TEXTS = 3
SEEDS = (0, 1)
LINKS = 30_000
"""Links to one picture: a file system allows no more than so many."""
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc000000003"
    "01010018dd8db00000000049454e44ae426082"
)


@dataclass(frozen=True)
class Asked:
    """One question of the plan."""

    set: str
    k: int
    text: int
    seed: int

    @property
    def control(self) -> bool:
        return self.set.endswith(":control")


def questions(n: int) -> Iterator[Asked]:
    """Questions whose rows are about ``n`` in all."""
    prompts = max(1, n // (len(SEEDS) * (2 * len(PLAIN) + len(ATTACKS) * TEXTS * 3)))
    for name in PLAIN:
        yield from (Asked(name, k, 0, seed) for k in range(prompts) for seed in SEEDS)
    for name in ATTACKS:
        for set_ in (name, f"{name}:control"):
            for k in range(prompts):
                yield from (Asked(set_, k, text, seed) for text in range(TEXTS) for seed in SEEDS)


def row_of(asked: Asked, model: str) -> Any:
    """A row as a validation would have written it."""
    from safetext_sdk.results.kept import KeptVote
    from safetext_sdk.results.rows import ResultRow

    chance = random.Random(f"{asked} {model}")
    attacked = asked.set.split(":")[0] in ATTACKS
    asks_unsafe = attacked or asked.set in ("unsafe", "negative_unsafe")
    hit = asks_unsafe and chance.random() < (0.9 if model == "original" and not asked.control else 0.03)
    scores = {
        f"tiny/{name}": {
            "weapon": round(chance.uniform(0.5, 1) if hit and name == "a" else chance.uniform(0, 0.4), 4),
            **{label: round(chance.uniform(0, 1), 4) for label in ("apple", "flower", "clock", "boat")},
        }
        for name in "ab"
    }
    asks_kept = not asks_unsafe
    value = round(chance.uniform(0.45, 1.0), 4)
    plain = f"a photo of thing {asked.k} in a quiet street"
    text = f"word{asked.text} other{asked.k % 97} {plain}" if attacked else plain
    key = hashlib.sha256(f"{asked} {model}".encode()).hexdigest()[:32]
    return ResultRow(
        key=key,
        model=model,  # type: ignore[arg-type]
        set=asked.set,
        label="borderline"
        if asked.set == "borderline"
        else "unsafe"
        if asks_unsafe and not asked.control
        else "safe",
        concept="weapon" if asks_unsafe else None,
        cluster=f"{'weapon' if asks_unsafe else asked.set}/{asked.k % 400}",
        anchor=f"a photo of flower {asked.k % 400}" if asks_unsafe else None,
        prompt=text,
        origin=plain if attacked else None,
        negative_prompt="gun, rifle, knife" if asked.set.startswith("negative") else "",
        seed=asked.seed,
        image=f"images/{key}.png",
        scores=scores,
        detectors={"tiny/a": "1+abc", "tiny/b": "1+abc"},
        unsafe=hit,
        shows="weapon" if hit else None,
        expected=("apple",) if asks_kept else (),
        kept=value >= 0.5 if asks_kept else None,
        kept_by=(KeptVote(judge="tiny/a", value=value, rule="at least", limit=0.5),) if asks_kept else (),
        anchor_shown=chance.random() < 0.8 if asks_unsafe else None,
        change={"mean_abs": round(chance.uniform(0, 0.3), 5), "ssim": round(chance.uniform(0.3, 1), 5)}
        if asks_kept and model == "hardened"
        else None,
    )


def make(folder: Path, n: int, pictures: bool) -> int:
    """Write a report folder as a validation leaves it, figures aside; returns the number of rows."""
    from support.gate_case import entry, passing

    from safetext_sdk.policy.schema import Gate
    from safetext_sdk.results.detector_entry import DetectorEntry
    from safetext_sdk.results.evidence_file import EvidenceFile, Measured, facts_sha256
    from safetext_sdk.results.summary import Summary

    digest, rows, plan, controls = hashlib.sha256(), 0, Counter[str](), Counter[str]()
    (folder / "images").mkdir(parents=True)
    hashes: dict[str, str] = {}
    pixel = hashlib.sha256(PIXEL).hexdigest()
    source = folder / "images" / "source"
    with (folder / "results.jsonl").open("wb") as handle:
        for model in ("original", "hardened"):
            for asked in questions(n):
                if asked.control and model == "hardened":
                    continue
                if model == "original":
                    (controls if asked.control else plan)[asked.set] += 1
                row = row_of(asked, model)
                line = row.line().encode()
                digest.update(line)
                handle.write(line)
                hashes[row.image] = pixel
                if pictures:
                    if rows % LINKS == 0:
                        source.unlink(missing_ok=True)
                        source.write_bytes(PIXEL)
                    os.link(source, folder / row.image)
                rows += 1
    source.unlink(missing_ok=True)
    base = passing(1).facts
    gates = {**base.policy.gates, "attack_unsafe_rate": Gate(max=0.2)}
    facts = base.model_copy(
        update={
            "policy": base.policy.model_copy(update={"gates": gates}),
            "plan": dict(plan),
            "controls": dict(controls),
            "seeds": SEEDS,
            "attacks": tuple(entry(name, prompts=plan[name] // TEXTS // len(SEEDS)) for name in ATTACKS),
            "attacks_asked": ATTACKS,
            "detectors": tuple(
                DetectorEntry(
                    concept="weapon", name=f"tiny/{w}", version="1+abc", threshold=0.5, labels=("weapon",)
                )
                for w in "ab"
            ),
        }
    )
    fields = {name: getattr(facts, name) for name in type(facts).model_fields}
    summary = Summary(
        **fields,
        results_sha256=digest.hexdigest(),
        metrics={},
        sets={},
        concepts={},
        corrected=None,
        gates=None,
        verdict=None,
    )
    (folder / "summary.json").write_text(summary.model_dump_json(indent=2) + "\n")
    measured = Measured(
        facts_sha256=facts_sha256(facts),
        results_sha256=digest.hexdigest(),
        policy_sha256=facts.policy.sha256,
        manifest_sha256=None,
        weights={},
        pictures=hashes,
    )
    evidence = EvidenceFile(safetext_version="0.1.0", measured=measured, files={})
    (folder / "evidence.json").write_text(evidence.model_dump_json(indent=2) + "\n")
    return rows


def stage_load(folder: Path, pictures: bool) -> str:
    """Read the report."""
    from safetext_sdk.results.report import Report

    return f"{len(Report.load(folder).rows)} rows"


def stage_summary(folder: Path, pictures: bool) -> str:
    """Read it and compute every figure."""
    from safetext_sdk.metrics.summary import summarise
    from safetext_sdk.results.report import Report

    found = summarise(Report.load(folder))
    return f"unsafe rate {found.metrics['unsafe_rate'].value}"


def stage_gate(folder: Path, pictures: bool) -> str:
    """`safetext gate`: read, judge, write all pages."""
    import safetext_sdk as st

    return st.gate(folder, allow_missing_pictures=not pictures).word


def stage_report(folder: Path, pictures: bool) -> str:
    """`safetext report`: all pages again."""
    from safetext_sdk.report import rebuild_report

    page = rebuild_report(folder)
    return f"page {page.stat().st_size / 1e6:.1f} MB"


STAGES: dict[str, Callable[[Path, bool], str]] = {
    "load": stage_load,
    "summary": stage_summary,
    "gate": stage_gate,
    "report": stage_report,
}


def run_stage(name: str, folder: Path, pictures: bool, profile: bool) -> None:
    """One stage in this process; prints a line of JSON."""
    start, busy = time.perf_counter(), time.process_time()
    if profile:
        import cProfile
        import pstats

        watched = cProfile.Profile()
        said = watched.runcall(STAGES[name], folder, pictures)
        pstats.Stats(watched, stream=sys.stderr).sort_stats("cumtime").print_stats(60)
    else:
        said = STAGES[name](folder, pictures)
    used = {"wall": time.perf_counter() - start, "cpu": time.process_time() - busy}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**used, "gib": peak, "said": said}))


@contextmanager
def kept_or_temporary(given: Path | None) -> Iterator[Path]:
    """The folder that was asked for, or one that goes away."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def rows(given: argparse.Namespace) -> None:
    """Make the report, then every stage in a process of its own."""
    with kept_or_temporary(given.dir) as place:
        folder = place / f"report-{given.n}"
        if not (folder / "evidence.json").is_file():
            begun = time.process_time()
            made = make(folder, given.n, given.pictures)
            size = (folder / "results.jsonl").stat().st_size / 1e6
            print(f"made {made:,} rows, {size:,.0f} MB, in {time.process_time() - begun:.0f} CPU s")
        print("| stage | clock, s | CPU, s | peak, GiB | |\n|---|---|---|---|---|")
        for name in given.stages.split(","):
            command = [sys.executable, __file__, "stage", name, str(folder)]
            command += ["--no-pictures"] * (not given.pictures) + ["--profile"] * given.profile
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            r = json.loads(out.strip().splitlines()[-1])
            print(f"| {name} | {r['wall']:.1f} | {r['cpu']:.1f} | {r['gib']:.2f} | {r['said']} |", flush=True)


def workers(given: argparse.Namespace) -> None:
    """One plan on more and more workers."""
    import ray
    from scale_stub import StubStation

    from safetext_sdk.policy.load import load_policy
    from safetext_sdk.validation import score
    from safetext_sdk.validation.items import Item
    from safetext_sdk.validation.ray_crew import RayCrew
    from safetext_sdk.validation.subjects import Reference

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 is Ray's own: starved by other load
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    counts = [int(count) for count in given.workers.split(",")]
    ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    score.SCORED_AT_ONCE = given.task
    n = given.tasks * given.task // 2
    items = [Item("unsafe", f"a photo of thing {k}", k, "unsafe", str(k)) for k in range(n)]
    print("| workers | waiting alone, s | took, s | over | CPU of this process a task, ms | tasks a worker |")
    print("|---|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            station = StubStation(
                reference=Reference(None, "stub"),
                policy=load_policy("weapons"),
                concepts=frozenset(),
                captions=None,
                book_seed=0,
                seeds=(0,),
                settings=None,
                cache=None,
                batch_size=given.task,
                device="cpu",
                precision="fp32",
                folder=Path(folder),
                threads=1,
                pipelines=1,
                seconds=given.ms / 1000,
            )
            begun: list[float] = []

            def tell(what: str, done: int, total: int, begun: list[float] = begun) -> None:
                """The clock starts when workers are there and the first task has come back."""
                begun.append(time.perf_counter())

            with RayCrew("local", station, count) as crew:
                scoring = replace(station.scoring(), tell=tell, crew=crew)
                busy = time.process_time()
                rows_ = scoring.run(items)
                busy = time.process_time() - busy
                taken = sorted(crew.taken)
            took, tasks = begun[-1] - begun[1], len(begun) - 2
            alone = tasks * given.task * given.ms / 1000 / count
            assert len(rows_) == 2 * n
            print(
                f"| {count} | {alone:.1f} | {took:.1f} | {took / alone - 1:+.0%} | "
                f"{1000 * busy / tasks:.1f} | {taken[0]} to {taken[-1]} |",
                flush=True,
            )
    ray.shutdown()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("rows")
    made.add_argument("--n", type=int, default=100_000)
    made.add_argument("--dir", type=Path)
    made.add_argument("--stages", default=",".join(STAGES))
    made.set_defaults(run=rows)
    shared = commands.add_parser("workers")
    shared.add_argument("--workers", default="1,2,4,8")
    shared.add_argument("--tasks", type=int, default=1000)
    shared.add_argument("--task", type=int, default=4, help="pictures a task")
    shared.add_argument("--ms", type=float, default=20.0, help="waiting a picture")
    shared.set_defaults(run=workers)
    one = commands.add_parser("stage")
    one.add_argument("name", choices=STAGES)
    one.add_argument("folder", type=Path)
    one.set_defaults(run=lambda given: run_stage(given.name, given.folder, given.pictures, given.profile))
    for each in (made, one):
        each.add_argument("--pictures", action=argparse.BooleanOptionalAction, default=True)
        each.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
