"""The conformance tests of the families with a language model or T5 alone, under an early diffusers that has
each pipeline.

    python benchmarks/oldest_diffusers.py FOLDER [--family zimage]

FOLDER keeps the packages; a second run takes them from there. Each diffusers is installed alone into a folder
of its own and put before the current one, and so is an older transformers where the table has one. Needs a
package registry. Prints a table and exits with 1 if a family's conditioning is not equal, bit for bit, to
what its pipeline encodes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

OLD = {
    "pixart": ("0.36.0", ""),
    "auraflow": ("0.36.0", ""),
    "chroma": ("0.36.0", ""),
    "hidream": ("0.36.0", ""),
    "sana": ("0.32.2", "4.57.3"),
    "lumina2": ("0.33.1", "4.57.3"),
    "qwenimage": ("0.35.2", "4.57.3"),
    "zimage": ("0.36.0", "4.57.3"),
    "flux2-dev": ("0.36.0", "4.57.3"),
    "flux2": ("0.37.0", "4.57.3"),
}
"""Family to an early diffusers with its pipeline, and the transformers beside it ("" = the installed). The
miniatures' T5 tokenizer cannot be built under transformers 4.57, so those four stay with the installed one,
under which much older diffusers cannot be imported. Of Qwen-Image 2.1 and Kandinsky 5 none is tried."""
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
    parser.add_argument("--family", choices=OLD, action="append")
    args = parser.parse_args()
    after = install(HTTPX, args.folder / "httpx")
    bad = 0
    print("| family | diffusers | transformers | conditioning |")
    print("|---|---|---|---|")
    for family in args.family or OLD:
        version, transformers = OLD[family]
        before = [install([f"diffusers=={version}"], args.folder / f"diffusers-{version}")]
        if transformers:
            packages = [f"transformers=={transformers}", *BESIDE]
            before.append(install(packages, args.folder / f"transformers-{transformers}"))
        found = outcome(family, before, after)
        bad += found != "equal"
        print(f"| `{family}` | {version} | {transformers or 'installed'} | {found} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
