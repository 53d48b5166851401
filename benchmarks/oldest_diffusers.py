"""The tests of the families with a language model or T5 alone, at the other end of the libraries.

    python benchmarks/oldest_diffusers.py FOLDER [--end least] [--family zimage]

``--end least``: the least diffusers that this package takes, with the least transformers. ``--end oldest``:
the oldest diffusers that has the family's pipeline and encodes as today's does, or the oldest that can
be imported beside the least transformers; `WHY` says which of the two, and what came before.

Which tests: of `FILES` all that are about the family. The conditioning equals what the pipeline encodes, bit
for bit; gradients reach every LoRA; nothing that is trained depends on a pad that the denoiser does not read;
a LoRA goes around through peft and diffusers; what a step leaves out is not read.

FOLDER keeps the packages; a second run takes them from there. Each diffusers is installed alone into a folder
of its own and put before the current one, and so is the older transformers. Needs a package registry. Prints
a table and exits with 1 if a test of a family fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

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
FILES = (
    "tests/models/test_conditioning_recent.py",
    "tests/hardening/test_lora_round_trip.py",
    "tests/hardening/test_ends_with_prompt.py",
)
BESIDE_NAME = {
    "zimage": ("adapters_for_peft_alone",),
    "qwenimage21": ("qwen_image_21",),
    "kandinsky5": ("kandinsky_5",),
}
"""Words in the names of tests that are about a family and do not hold its name."""
ROOT = Path(__file__).parents[1]


def install(packages: list[str], folder: Path) -> Path:
    """Packages without what they depend on, once."""
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, *packages], check=True)
    return folder


def chosen(family: str) -> str:
    """What pytest's ``-k`` takes to run one family's tests of `FILES` and hardly any other's."""
    longer = any(other != family and other.startswith(family) for other in OLDEST)
    return " or ".join([f"{family}]" if longer else family, *BESIDE_NAME.get(family, ())])


def owner(test: str) -> str:
    """The family that a test's name is about; "" if it names none."""
    words = {word: family for family, more in BESIDE_NAME.items() for word in (family, *more)}
    words |= {family: family for family in OLDEST}
    found = [word for word in words if word in test]
    return words[max(found, key=len)] if found else ""


@dataclass
class Outcome:
    """What became of one family's tests: how many passed and were skipped, and which failed, why."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{self.passed} passed" + (f", {self.skipped} skipped" if self.skipped else "")
        return "; ".join([told, *self.failed])


def outcomes(families: Sequence[str], before: list[Path], after: Path) -> dict[str, Outcome]:
    """Run the families' tests in one process of pytest with some libraries before the installed ones."""
    own = [ROOT, *(ROOT / part for part in ("cli", "exporters", "lab", "tests"))]
    path = os.pathsep.join(str(p) for p in (*before, *own, after))
    found = {family: Outcome() for family in families}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        asked = ["-W", "ignore", "-k", " or ".join(map(chosen, families)), f"--junitxml={report}"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--tb=short", "--show-capture=no", *asked, *FILES],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        if not report.is_file():
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        cases = list(ElementTree.parse(report).iter("testcase"))
    for case in cases:
        name = case.get("name", "")
        outcome = found.get(owner(name), Outcome())
        bad = next((part for part in case if part.tag in ("failure", "error")), None)
        if bad is not None:
            reason = (bad.get("message") or bad.text or "").strip().splitlines() or [bad.tag]
            outcome.failed.append(f"{name}: {reason[0]}")
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return found


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
    groups: dict[str, list[str]] = {}
    for family in args.family or OLDEST:
        version = OLDEST[family] if args.end == "oldest" else LATER.get(family, LEAST)
        groups.setdefault(version, []).append(family)
    bad = 0
    print("| family | diffusers | tests | why not older |")
    print("|---|---|---|---|")
    for version, families in groups.items():
        diffusers = install([f"diffusers=={version}"], args.folder / f"diffusers-{version}")
        # diffusers 0.41 wants a client of the hub that transformers 4.57 does not take.
        before = [diffusers, *([] if version in LATER.values() else older)]
        for family, outcome in outcomes(families, before, after).items():
            bad += bool(outcome.failed) or not outcome.passed
            why = WHY.get(family, "the first with its pipeline") if args.end == "oldest" else ""
            print(f"| `{family}` | {version} | {outcome} | {why} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
