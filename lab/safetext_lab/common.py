"""What every stage shares: the clock, resumable state in small files, picture batches."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .scenes import Icons, draw, random_scene

CHUNK = 12 * 1024 * 1024
"""Largest checkpoint file in bytes; a file of at most 15 MiB travels anywhere."""


class Budget:
    """Wall-clock budget of one stage; ``--max-minutes`` of the whole command bounds it too."""

    def __init__(self, minutes: float):
        self.start, self.minutes = time.monotonic(), minutes

    @property
    def used(self) -> float:
        """Share of the budget that is gone, 0 to 1."""
        return min(1.0, (time.monotonic() - self.start) / 60 / max(self.minutes, 1e-9))

    @property
    def over(self) -> bool:
        return self.used >= 1.0


def save_state(folder: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write ``tensors`` in files of at most 15 MiB and ``meta``; readers see the old state or the new one,
    never a mix."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{meta['step']:08d}"
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        flat = value.detach().contiguous()
        pieces = (
            [flat] if flat.nbytes <= CHUNK else list(flat.reshape(-1).split(CHUNK // flat.element_size()))
        )
        for i, piece in enumerate(pieces):
            if size + piece.nbytes > CHUNK and parts[-1]:
                parts.append({})
                size = 0
            parts[-1][name if len(pieces) == 1 else f"{name}@@{i}"] = piece.clone()
            size += piece.nbytes
    names = []
    for i, part in enumerate(parts):
        name = f"state-{stamp}-{i:03d}.safetensors"
        save_file(part, folder / name)
        names.append(name)
    tmp = folder / "state.json.tmp"
    tmp.write_text(
        json.dumps({**meta, "files": names, "shapes": {k: list(v.shape) for k, v in tensors.items()}})
    )
    os.replace(tmp, folder / "state.json")
    for old in folder.glob("state-*.safetensors"):
        if old.name not in names:
            old.unlink()


def load_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Read what `save_state` wrote, or None."""
    if not (folder / "state.json").exists():
        return None
    meta = json.loads((folder / "state.json").read_text())
    raw: dict[str, torch.Tensor] = {}
    for name in meta["files"]:
        raw.update(load_file(folder / name))
    out = {}
    for name, shape in meta["shapes"].items():
        if name in raw:
            out[name] = raw[name]
        else:
            pieces = sorted((int(k.split("@@")[1]), v) for k, v in raw.items() if k.startswith(name + "@@"))
            out[name] = torch.cat([v for _, v in pieces]).reshape(shape)
    return out, meta


def optimiser_tensors(model: torch.nn.Module, opt: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's moments under the parameters' names."""
    out = {}
    for name, p in model.named_parameters():
        for key, value in opt.state.get(p, {}).items():
            out[f"opt.{key}.{name}"] = value if torch.is_tensor(value) else torch.tensor(float(value))
    return out


def restore_optimiser(
    model: torch.nn.Module, opt: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Inverse of `optimiser_tensors`."""
    for name, p in model.named_parameters():
        state = {
            k: tensors[f"opt.{k}.{name}"]
            for k in ("step", "exp_avg", "exp_avg_sq")
            if f"opt.{k}.{name}" in tensors
        }
        if state:
            opt.state[p] = state


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 RGB [n, 64, 64, 3] -> float [n, 3, 64, 64] in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


def picture_batch(
    rng: random.Random, icons: Icons, n: int, two_share: float = 0.45, house: int = 0
) -> tuple[torch.Tensor, list]:
    """``n`` random pictures and their scenes; the first ``house`` of them as the denoiser is taught to
    draw."""
    scenes = [random_scene(rng, icons, two_share, house=i < house) for i in range(n)]
    images = np.stack([draw(s, icons) for s in scenes])
    return to_tensor(images), scenes
