"""Seconds and memory of a training step of each family, on its miniature with random weights.

    python benchmarks/family_minis.py [--family zimage] [--steps 32] [--repeats 3]

Each family is hardened in processes of its own (``--repeats`` of them), one thread, steps of 8 unsafe and 8
safe prompts, by the trainer of `safetext harden` and with its defaults. Its steps are timed one by one, in
seconds of the processor, which other load changes less than a clock's: of three steps in four the trainer
reads the prompt alone, of the fourth all positions (`train.whole_every`), so those are two figures. Each is
the median over the steps behind the warm-up, and the range beside it is that of the processes' medians.

Memory is the highest resident set while it is hardened, less what was held when the model was loaded; a short
run before it has imported what hardening needs and returned its memory. It has all that hardening holds in
it: prompts, the original's outputs, the trained copy, gradients, moments, activations. Most of it depends on
the prompts and not on the model where a model is as small as this.

A miniature says what the length of the prompts and the number of layers cost beside each other, and nothing
about a published model; what those need is in `safetext models list`. Prints a table.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
FIRST = ("sd1", "sd2", "sdxl", "sd3", "flux", "plain")
RECENT = (
    "pixart",
    "chroma",
    "auraflow",
    "zimage",
    "flux2",
    "flux2-dev",
    "qwenimage",
    "qwenimage21",
    "sana",
    "lumina2",
    "kandinsky5",
    "hidream",
)
FAMILIES = (*FIRST, *RECENT)
WARM_UP = 4
"""Steps that are not counted; one of them reads all positions."""
TRAIN = {"prompts": 48, "batch_size": 8, "wide_safe": 24}


def builder_of(family: str) -> Callable[[Path], Path]:
    """What builds a family's miniature in a folder."""
    from support import minis, recent_minis

    if family in recent_minis.RECENT:
        return recent_minis.RECENT[family]
    if family in FIRST:
        return getattr(minis, "build_plain_clip" if family == "plain" else f"build_{family}")
    return recent_minis.build_by_hand(family)[0]


def status(key: str) -> float:
    """One line of what Linux says of this process's memory, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def forget_peak() -> None:
    """Give free memory back, and let the highest resident set begin from here."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def one(family: str, steps: int) -> dict[str, Any]:
    """What one family takes; in a process of its own."""
    import torch
    from support.hardening_case import POLICY, run

    from safetext_sdk.hardening import harden as hardening
    from safetext_sdk.hardening.settings import TrainConfig
    from safetext_sdk.models import load_model
    from safetext_sdk.progress import Bar

    times: list[float] = []

    class Clock(Bar):
        """The bar that `harden` tells of every step, as a clock."""

        def update(self, done: int, losses: dict[str, float]) -> None:
            times.append(time.process_time())

    hardening.Bar = Clock
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(POLICY)
        model = load_model(builder_of(family)(folder / "model"))
        model.encode(["a cat"])
        run(model, folder / "policy.yaml", folder / "first", 2, False, train=TRAIN)
        forget_peak()
        before = status("VmRSS")
        times.clear()
        run(model, folder / "policy.yaml", folder / "run", WARM_UP + steps, False, train=TRAIN)
        config = TrainConfig(steps=WARM_UP + steps)
        # The time that was noted at the end of a step, less that at the end of the step before.
        spent = {k: times[k] - times[k - 1] for k in range(WARM_UP, WARM_UP + steps)}
        whole = [s for k, s in spent.items() if config.reads_whole(k)]
        short = [s for k, s in spent.items() if not config.reads_whole(k)]
        lengths = [int(t["input_ids"].shape[1]) for t in model.tokenize(["a cat"]).values()]
        return {
            "parameters": model.parameters(),
            "positions": max(lengths),
            "short": statistics.median(short),
            "whole": statistics.median(whole),
            "megabytes": status("VmHWM") - before,
        }


def told(family: str, steps: int, to: Connection) -> None:
    """`one`, in a child; what it prints is of no interest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    to.send(one(family, steps))


def measured(family: str, steps: int, repeats: int) -> dict[str, list[float]]:
    """Each figure of a family, once a process."""
    found: dict[str, list[float]] = {}
    # Forked: what all families import was imported once, before (see `main`).
    forked = multiprocessing.get_context("fork")
    for _ in range(repeats):
        mine, theirs = forked.Pipe(duplex=False)
        child = forked.Process(target=told, args=(family, steps, theirs))
        child.start()
        theirs.close()  # a child that dies then ends the wait below
        for key, value in mine.recv().items():
            found.setdefault(key, []).append(value)
        child.join()
    return found


def cell(values: list[float], digits: int, scale: float = 1.0) -> str:
    """A median and the range of what was measured."""
    middle, low, high = (
        f"{v * scale:.{digits}f}" for v in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.steps < WARM_UP:
        parser.error(f"--steps: at least {WARM_UP}, so that one of them reads all positions")
    import diffusers
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    diffusers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print("| family | parameters | positions | ms a step | ms a whole step | MB |")
    print("|---|---|---|---|---|---|")
    for family in args.family or FAMILIES:
        found = measured(family, args.steps, args.repeats)
        print(
            f"| `{family}` | {int(found['parameters'][0]):,} | {int(found['positions'][0])} "
            f"| {cell(found['short'], 0, 1000)} | {cell(found['whole'], 0, 1000)} "
            f"| {cell(found['megabytes'], 0)} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
