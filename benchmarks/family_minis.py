"""Memory and seconds a step of each recent family, on its miniature with random weights.

    python benchmarks/family_minis.py [--family zimage] [--steps 10]

Each family is hardened twice in a process of its own, with 2 and with 2 + ``--steps`` steps of 4 + 4 prompts,
one thread; the difference is what a step takes (seconds of the processor, which other load changes less than
a clock's). Memory is the process's peak above what it held once the model was loaded. A miniature says what
the length of the prompts and the number of layers cost beside each other, and nothing about a published
model; what those need is in `safetext models list`. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
FAMILIES = (
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
FIRST = 2
TRAIN = {"prompts": 16, "batch_size": 8, "wide_safe": 8}


def peak() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(family: str, steps: int) -> dict[str, float | int]:
    """What one family takes; in a process of its own."""
    import torch
    from support.hardening_case import POLICY, run
    from support.recent_minis import RECENT, build_by_hand

    from safetext_sdk.models import load_model

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(POLICY)
        build = RECENT[family] if family in RECENT else build_by_hand(family)[0]
        model = load_model(build(folder / "model"))
        model.encode(["a cat"])
        before, spent = peak(), []
        for number in (FIRST, FIRST + steps):
            start = time.process_time()
            run(model, folder / "policy.yaml", folder / str(number), number, False, train=TRAIN)
            spent.append(time.process_time() - start)
        lengths = {n: int(t["input_ids"].shape[1]) for n, t in model.tokenize(["a cat"]).items()}
        return {
            "parameters": model.parameters(),
            "positions": max(lengths.values()),
            "seconds": (spent[1] - spent[0]) / steps,
            "megabytes": peak() - before,
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(one(args.family[0], args.steps)))
        return 0
    print("| family | parameters | positions | seconds a step | MB above the loaded model |")
    print("|---|---|---|---|---|")
    for family in args.family or FAMILIES:
        command = [sys.executable, __file__, "--inside", "--family", family, "--steps", str(args.steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| `{family}` | {found['parameters']:,} | {found['positions']} | {found['seconds']:.3f} "
            f"| {found['megabytes']:.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
