"""What is looked at before any weight is read. No torch here.

* Only safetensors is read. A pickle can run code while it loads, so it is refused by its first bytes,
  whatever its name says.
* The safetensors header tells names, types and lengths: a truncated file is found from it and the file's
  size, before loading.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from ..errors import ModelError

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_WHOLE = ("model.safetensors", "model.fp16.safetensors", "model.bf16.safetensors")
"""Weights of an encoder in one file, as they are looked for."""
_SHARD = re.compile(r"-\d+-of-\d+\b")
_CONVERT = (
    "convert it once, on a machine you can lose: `safetext convert IN --out OUT.safetensors` (tensors only, "
    "in a process of its own)"
)


def refuse_pickle(path: Path | str, never: str = "opened") -> ModelError:
    """The error for a pickle weight file: why, and what to do. ``never``: what is not done with it."""
    return ModelError(
        f"{path} is a pickle: loading it can run code, so it is never {never}; use the model's "
        f"safetensors file, or {_CONVERT}"
    )


def looks_like_pickle(path: Path) -> bool:
    """Whether the first bytes are those of a pickle (protocol 2 or later) or of torch's zip of pickles."""
    with open(path, "rb") as handle:
        start = handle.read(4)
    return start[:2] == b"PK" or (len(start) >= 2 and start[0] == 0x80 and 2 <= start[1] <= 5)


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The safetensors header: ``{tensor: {"dtype", "shape", "data_offsets"}}`` without ``__metadata__``.

    Raises:
        ModelError: a pickle, not a safetensors file, or a truncated one.
    """
    try:
        size = path.stat().st_size
        if looks_like_pickle(path):
            raise refuse_pickle(path)
        with open(path, "rb") as handle:
            raw = handle.read(8)
            length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
            if not 2 <= length <= min(size - 8, 100_000_000):
                raise ModelError(
                    f"{path} is not a complete safetensors file ({size} bytes); download or copy it again"
                )
            header = json.loads(handle.read(length))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} has a damaged safetensors header; download or copy it again") from error
    try:
        header.pop("__metadata__", None)
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path} has a damaged safetensors header; download or copy it again") from error
    if 8 + length + end != size:
        raise ModelError(
            f"{path} is truncated: its header promises {8 + length + end} bytes, {size} are there; "
            "download or copy it again"
        )
    return dict(header)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one encoder folder: one, or the shards that its index names.

    Raises:
        ModelError: only a pickle is there, a shard is missing, or nothing at all.
    """
    for name in _WHOLE:
        if (folder / name).is_file():
            return [folder / name]
    # Of a copy that was not downloaded only the index may be there.
    lacking: list[str] = []
    for index in _indices(folder):
        paths = _shards(index)
        missing = [p.name for p in paths if not p.is_file()]
        if not missing:
            return paths
        lacking = lacking or missing
    if lacking:
        raise ModelError(f"{folder} lacks {', '.join(lacking)}; download or copy it again")
    pickles = sorted(p for p in folder.glob("*") if p.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise refuse_pickle(pickles[0])
    raise ModelError(f"{folder} holds no model.safetensors")


def weight_sets(folder: Path) -> list[list[Path]]:
    """Every set of safetensors weights in one encoder folder that ``from_pretrained`` can be asked for.

    The one of `weight_files` comes first, then those of its ``variant=``. Sets that lack a shard are left
    out; [] if there is none.
    """
    known = [[folder / name] for name in _WHOLE if (folder / name).is_file()]
    for index in _indices(folder):
        try:
            shards = _shards(index)
        except ModelError:  # nothing loads it
            continue
        if shards and all(path.is_file() for path in shards):
            known.append(shards)
    others = (p for p in sorted(folder.glob("model.*.safetensors")) if not _SHARD.search(p.name))
    return [*known, *([p] for p in others if [p] not in known)]


def _indices(folder: Path) -> list[Path]:
    """The full weights before a half-precision copy."""
    full = "model.safetensors.index.json"
    return sorted(folder.glob("model.safetensors.index*.json"), key=lambda p: (p.name != full, p.name))


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        return [index.parent / name for name in names]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged; download or copy it again") from error


def variant_of(files: list[Path]) -> str | None:
    """``"fp16"`` for ``model.fp16.safetensors``, its shards and its like, any other word for a whole
    ``model.WORD.safetensors``, else None."""
    parts = files[0].name.split(".")
    kind = parts[1].split("-")[0] if len(parts) > 2 else ""
    whole = files[0].name == f"model.{kind}.safetensors"
    return kind if kind and (whole or kind in ("fp16", "bf16")) else None


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON configuration, or one clear `ModelError`."""
    path = folder / name
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; this is not a model folder, or an incomplete copy") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object")
    return data
