"""A pickle of weights to safetensors: asked for by name, tensors only, in a process of its own.

A pickle can run code while it is read. torch's ``weights_only`` reader knows tensors and plain containers and
nothing else; in case it errs, it works in a process without this library, without the caller's variables and
with a limited time, and only a file whose safetensors header holds is put in place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from ..files import atomic_file, sha256_file
from .checks import looks_like_pickle, read_header

SECONDS = 900
"""After which a conversion is given up; 10 GB take about a minute from a local disk."""
_CHILD = Path(__file__).with_name("convert_child.py")
# What an interpreter and torch need to start; no tokens, no paths of Python modules.
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
)


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: the safetensors file.
        tensors: how many.
        left_out: names in the pickle that were no tensors.
        source_sha256, sha256: of the pickle and of the file.
    """

    path: Path
    tensors: int
    left_out: tuple[str, ...]
    source_sha256: str
    sha256: str

    def text(self) -> str:
        """For a person."""
        left = f"; left out, no tensors: {', '.join(self.left_out)}" if self.left_out else ""
        return f"written: {self.path} (tensors: {self.tensors}{left})"


def convert(source: str | Path, out: str | Path) -> Converted:
    """Write the tensors of a pickle (``.pt``, ``.bin``, ``.ckpt``) as safetensors.

    Args:
        source: the pickle.
        out: the new file; never overwritten.

    Raises:
        UsageError: ``out`` exists, or does not end with ``.safetensors``.
        ModelError: no pickle, more than tensors in it, or it takes too long.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} has to end with .safetensors")
    if out.exists():
        raise UsageError(f"{out} is there already; choose another --out")
    if not source.is_file():
        raise ModelError(f"there is no file {source}")
    if not looks_like_pickle(source):
        raise ModelError(f"{source} is no pickle of weights (nor a zip of one); there is nothing to convert")
    before = sha256_file(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as temporary:
        said = _run(source, temporary)
        if "error" in said:
            raise ModelError(f"{source} was not converted: {said['error']}")
        tensors = len(read_header(temporary))
        if tensors != said.get("tensors"):
            raise ModelError(f"{source} was not converted: its process wrote another file than it says")
    left = tuple(str(name) for name in said.get("left_out", ()))
    return Converted(out, tensors, left, before, sha256_file(out))


def _run(source: Path, target: Path) -> dict[str, Any]:
    environment = {name: value for name in _KEPT if (value := os.environ.get(name)) is not None}
    command = [sys.executable, "-I", str(_CHILD), str(source.resolve()), str(target.resolve())]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{source} was not converted: it took longer than {SECONDS} s") from None
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    except ValueError:
        said = None
    if not isinstance(said, dict):
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{source} was not converted: its process failed ({why})")
    return said
