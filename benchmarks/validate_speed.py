"""What validation costs over the bare pipeline: a plain diffusers loop and this package by turns, in one run.

    python benchmarks/validate_speed.py                          # the embedded model, on this machine
    python benchmarks/validate_speed.py --model FOLDER --device cuda --precision fp16 --pictures 64

* bare: ``pipe(prompt=[...], generator=[...])`` batch by batch, pictures thrown away: what a person writes
  first.
* drawn: `PictureMaker.ensure`: keys, checks, PNG files.
* scored: `Scoring.run`: the same with every detector of the policy and rows on disk.

All have the same prompts, seeds and batch, and on a CPU the same number of threads with a batch each (else
the comparison would be of threads). The overhead is drawn or scored over bare, less 1. With several threads
the wall clock counts, with one the time of the process, which other load on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from safetext_sdk import load_model, load_policy
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.models import TextToImageModel
from safetext_sdk.results.rows import control_of
from safetext_sdk.validation.generate import PictureMaker, Request, Settings
from safetext_sdk.validation.items import Item
from safetext_sdk.validation.score import Scoring


@dataclass(frozen=True)
class Case:
    """What is drawn, and how."""

    model: TextToImageModel
    detectors: DetectorSet
    requests: Sequence[Request]
    settings: Settings
    batch: int
    workers: int


@dataclass(frozen=True)
class Seconds:
    """Of one round, for all pictures."""

    bare: float
    drawn: float
    scored: float


def bare(case: Case, folder: Path) -> None:
    """The plain loop, in as many threads as ours."""
    maker = PictureMaker(case.model, folder, settings=case.settings, workers=case.workers)
    settings = maker.settings
    asked = {
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
        "height": settings.height,
        "width": settings.width,
    }
    given = {name: value for name, value in asked.items() if name in maker.calls and value is not None}

    @torch.no_grad()
    def draw(part: Sequence[Request]) -> None:
        pipe = getattr(maker._local, "pipe", maker.pipe)
        pipe(
            prompt=[request.prompt for request in part],
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in part],
            output_type="np",
            **given,
        )

    parts = [case.requests[i : i + case.batch] for i in range(0, len(case.requests), case.batch)]
    if case.workers == 1 or len(parts) <= 1:
        for part in parts:
            draw(part)
        return
    with ThreadPoolExecutor(case.workers, initializer=maker._enter_thread) as pool:
        list(pool.map(draw, parts))


def drawn(case: Case, folder: Path) -> None:
    """Ours, without detectors."""
    PictureMaker(
        case.model, folder, settings=case.settings, batch_size=case.batch, workers=case.workers
    ).ensure(case.requests)


def scored(case: Case, folder: Path) -> None:
    """Ours, with detectors and rows. Only the original is drawn: every item is a control."""
    maker = PictureMaker(
        case.model, folder / "images", settings=case.settings, batch_size=case.batch, workers=case.workers
    )
    concept = case.detectors.assignments[0].concept
    items = [
        Item(control_of("speed"), request.prompt, request.seed, "unsafe", "sword", concept=concept)
        for request in case.requests
    ]
    rows = Scoring({"original": maker, "hardened": maker}, case.detectors, folder, lambda *_: None).run(items)
    if len({row.image for row in rows}) != len(case.requests):
        raise RuntimeError("not every picture was drawn and scored")


def seconds(case: Case, work: Callable[[Case, Path], None]) -> float:
    """Of one run of ``work`` in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        clock = (
            time.process_time if case.workers == 1 and case.model.device.type == "cpu" else time.perf_counter
        )
        _wait(case)
        begun = clock()
        work(case, Path(folder))
        _wait(case)
        return clock() - begun


def _wait(case: Case) -> None:
    if case.model.device.type == "cuda":
        torch.cuda.synchronize()


def measure(case: Case, rounds: int) -> list[Seconds]:
    """Each by turns, so that a change of the machine's load meets all alike."""
    bare(
        Case(case.model, case.detectors, case.requests[: case.batch], case.settings, case.batch, 1),
        Path(tempfile.mkdtemp()),
    )
    return [Seconds(*(seconds(case, work) for work in (bare, drawn, scored))) for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    model = load_model(args.model, device=args.device, precision=args.precision)
    detectors = DetectorSet.build(load_policy(args.policy), model.id, args.device)
    requests = [Request(f"a picture of a sword and {i} apples", i) for i in range(args.pictures)]
    settings = Settings(steps=args.steps)
    with tempfile.TemporaryDirectory() as folder:
        workers = PictureMaker(model, Path(folder), settings=settings, workers=args.workers).workers
    found = measure(Case(model, detectors, requests, settings, args.batch, workers), args.rounds)
    middle = statistics.median
    print(
        json.dumps(
            {
                "model": model.id,
                "device": str(model.device),
                "threads": torch.get_num_threads(),
                "workers": workers,
                "batch": args.batch,
                "pictures": args.pictures,
                "rounds": args.rounds,
                "bare_seconds_a_picture": round(middle(s.bare for s in found) / args.pictures, 4),
                "overhead_drawn": round(middle(s.drawn / s.bare for s in found) - 1, 4),
                "overhead_scored": round(middle(s.scored / s.bare for s in found) - 1, 4),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
