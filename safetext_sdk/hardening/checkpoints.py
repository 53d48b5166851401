"""Checkpoints of an unfinished run: safetensors and JSON, nothing that could run code.

``checkpoints/step-000120/`` holds ``weights.safetensors``, ``optimizer.safetensors``, ``state.json`` (the
number of steps done, losses, prompts at once) and, where they are not empty, the method's state
(``method.safetensors``) and the mean of the weights (``average.safetensors``).
Random state is not needed: everything random is a function of the seed and the step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunError
from ..files import atomic_folder

KEEP = 2


@dataclass
class Progress:
    """Where a run is: steps done, the losses so far as ``[step, {part: value}]``, how many prompts go
    through at once where memory ran out (0: it did not), and the seconds that earlier parts of a resumed run
    took up to their last checkpoint."""

    done: int = 0
    losses: list[Any] = field(default_factory=list)
    micro: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class States:
    """What a run may carry beside weights and optimiser, by name of its file; {} = nothing to keep."""

    method: Mapping[str, Tensor] = field(default_factory=dict)
    average: Mapping[str, Tensor] = field(default_factory=dict)


def save(
    folder: Path,
    progress: Progress,
    trainable: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    states: States,
) -> Path:
    """Write one checkpoint, whole or not at all, and drop all but the last two."""
    from safetensors.torch import save_file

    target = folder / f"step-{progress.done:06d}"
    moments: dict[str, Tensor] = {}
    for name, parameter in trainable.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{key}:{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    with atomic_folder(target) as temporary:
        save_file(
            {n: p.detach().cpu().contiguous() for n, p in trainable.items()},
            temporary / "weights.safetensors",
        )
        save_file(moments, temporary / "optimizer.safetensors")
        for part in fields(states):
            if state := getattr(states, part.name):
                kept = {n: t.detach().cpu().contiguous() for n, t in state.items()}
                save_file(kept, temporary / f"{part.name}.safetensors")
        (temporary / "state.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
    for old in listing(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def listing(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file())


def load_last(
    folder: Path, trainable: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Progress:
    """Restore the last checkpoint into the weights and the optimiser, in place; a fresh `Progress` if there
    is none.

    Raises:
        RunError: the checkpoint does not fit this model.
    """
    from safetensors.torch import load_file

    found = listing(folder)
    if not found:
        return Progress()
    try:
        weights, moments = (
            load_file(found[-1] / "weights.safetensors"),
            load_file(found[-1] / "optimizer.safetensors"),
        )
        state = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
    except Exception as error:
        raise RunError(
            f"{found[-1]} cannot be read ({error}); delete it to go on from the one before"
        ) from error
    if set(weights) != set(trainable):
        raise RunError(f"{found[-1]} was made for other weights than this run trains")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    for entry, value in moments.items():
        key, _, name = entry.partition(":")
        parameter = trainable[name]
        # AdamW counts steps in a tensor that lives on the CPU, except in its fused form, where it lives with
        # the weights.
        fused = bool(optimizer.param_groups[0].get("fused"))
        place = parameter.device if key != "step" or fused else torch.device("cpu")
        optimizer.state[parameter][key] = value.to(place)
    return Progress(
        int(state["done"]),
        list(state["losses"]),
        int(state.get("micro", 0)),
        float(state.get("seconds", 0.0)),
    )


def method_state(folder: Path) -> dict[str, Tensor]:
    """The method's state in the last checkpoint; {} if it has none."""
    return _state(folder, "method")


def average(folder: Path) -> dict[str, Tensor]:
    """The mean of the weights in the last checkpoint; {} if it has none."""
    return _state(folder, "average")


def _state(folder: Path, part: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found = listing(folder)
    file = found[-1] / f"{part}.safetensors" if found else None
    return load_file(file) if file is not None and file.is_file() else {}
