"""The conformance tests of the families with a language model or T5 alone, under the first diffusers that has
each pipeline.

    python benchmarks/oldest_diffusers.py FOLDER [--family zimage] [--transformers 4.57.3]

FOLDER keeps the packages (about 60 MB; a second run takes them from there). Each diffusers is installed alone
into a folder of its own and put before the current one; with ``--transformers`` that version, which older
diffusers need, is put there too. Needs a package registry. Prints a table and exits with 1 if a family's
conditioning is not equal, bit for bit, to what its pipeline encodes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

FIRST = {
    "pixart": "0.28.2",
    "auraflow": "0.30.3",
    "sana": "0.32.2",
    "lumina2": "0.33.1",
    "chroma": "0.34.0",
    "hidream": "0.34.0",
    "qwenimage": "0.35.2",
    "zimage": "0.36.0",
    "flux2-dev": "0.36.0",
    "flux2": "0.37.0",
}
"""Family to the first line of diffusers with its pipeline, in that line's last repaired version.
(`qwenimage21` and `kandinsky5` as a picture pipeline are not in the table: of the former only the current
diffusers has it.)"""
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
    parser.add_argument("--family", choices=FIRST, action="append")
    parser.add_argument("--transformers", default="", help="another version than the installed one")
    args = parser.parse_args()
    before = []
    if args.transformers:
        packages = [f"transformers=={args.transformers}", *BESIDE]
        before = [install(packages, args.folder / f"transformers-{args.transformers}")]
    after = install(HTTPX, args.folder / "httpx")
    bad = 0
    print("| family | diffusers | transformers | conditioning |")
    print("|---|---|---|---|")
    for family in args.family or FIRST:
        version = FIRST[family]
        at = install([f"diffusers=={version}"], args.folder / f"diffusers-{version}")
        found = outcome(family, [at, *before], after)
        bad += found != "equal"
        print(f"| `{family}` | {version} | {args.transformers or 'installed'} | {found} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
