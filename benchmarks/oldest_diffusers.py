"""The conformance tests of the families with a language model or T5 alone, at the other end of the libraries.

    python benchmarks/oldest_diffusers.py FOLDER [--end least] [--family zimage]

``--end least``: the least diffusers that this package takes, with the least transformers. ``--end oldest``:
the oldest diffusers that has the family's pipeline and encodes as today's does, or the oldest that can
be imported beside the least transformers; `WHY` says which of the two, and what came before.

FOLDER keeps the packages; a second run takes them from there. Each diffusers is installed alone into a folder
of its own and put before the current one, and so is the older transformers. Needs a package registry. Prints
a table and exits with 1 if a family's conditioning is not equal, bit for bit, to what its pipeline encodes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TRANSFORMERS = "4.57.3"
"""Of the least release that pyproject.toml takes."""
LEAST = "0.39.0"
"""Likewise of diffusers."""
LATER = {"qwenimage21": "0.41.0"}
"""Families whose pipeline came after that."""
OLDEST = {
    "pixart": "0.30.3",
    "auraflow": "0.30.3",
    "chroma": "0.36.0",
    "hidream": "0.34.0",
    "sana": "0.32.2",
    "lumina2": "0.33.1",
    "qwenimage": "0.35.2",
    "zimage": "0.36.0",
    "flux2-dev": "0.36.0",
    "kandinsky5": "0.36.0",
    "flux2": "0.37.0",
    "qwenimage21": "0.41.0",
}
WHY = {
    "pixart": "its pipeline came with 0.28, which cannot be imported beside the hub's client of today",
    "chroma": "its pipeline came with 0.34; up to 0.35 T5 itself read the one pad that the denoiser reads",
}
"""Where that is not the release that the pipeline came with."""
BESIDE = ["huggingface_hub==0.36.0", "tokenizers==0.22.1"]
"""What transformers 4.57 reads the hub and tokenizers with."""
HTTPX = ["httpx==0.28.1", "httpcore==1.0.9", "h11==0.16.0", "anyio==4.16.0", "certifi", "idna"]
"""What diffusers 0.36 and 0.37 import without more ado."""
ROOT = Path(__file__).parents[1]


def install(packages: list[str], folder: Path) -> Path:
    """Packages without what they depend on, once."""
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, *packages], check=True)
    return folder


def tests_of(family: str) -> str:
    """The conformance tests of one family, as pytest names them."""
    name = "test_hidream" if family == "hidream" else f"test_equals_the_pipelines_own[{family}]"
    return f"tests/models/test_conditioning_recent.py::{name}"


def outcome(family: str, before: list[Path], after: Path) -> str:
    """``equal``, or the first line that says why not."""
    own = [ROOT, *(ROOT / part for part in ("cli", "exporters", "lab", "tests"))]
    path = os.pathsep.join(str(p) for p in (*before, *own, after))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "--show-capture=no", tests_of(family)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return "equal"
    reasons = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
    return reasons[-1][1:].strip() if reasons else done.stdout.strip().splitlines()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=OLDEST, action="append")
    parser.add_argument("--end", choices=("least", "oldest"), default="oldest")
    args = parser.parse_args()
    after = install(HTTPX, args.folder / "httpx")
    packages = [f"transformers=={TRANSFORMERS}", *BESIDE]
    older = [install(packages, args.folder / f"transformers-{TRANSFORMERS}")]
    bad = 0
    print("| family | diffusers | conditioning | why not older |")
    print("|---|---|---|---|")
    for family in args.family or OLDEST:
        version = OLDEST[family] if args.end == "oldest" else LATER.get(family, LEAST)
        diffusers = install([f"diffusers=={version}"], args.folder / f"diffusers-{version}")
        # diffusers 0.41 wants a client of the hub that transformers 4.57 does not take.
        found = outcome(family, [diffusers, *([] if family in LATER else older)], after)
        bad += found != "equal"
        why = WHY.get(family, "the first with its pipeline") if args.end == "oldest" else ""
        print(f"| `{family}` | {version} | {found} | {why} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
