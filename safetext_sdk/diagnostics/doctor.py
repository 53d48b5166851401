"""What a real run would find on this machine, asked of the very resolvers that a real run uses.

Each check is a row: name, state ("ok", "note", "problem"), what was found, and what mends it. Only a problem
    stops a run.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..versions import version_of

CORE = ("torch", "transformers", "diffusers", "peft", "accelerate", "safetensors", "pydantic")


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine(model: str | None = None, folder: str | Path = ".") -> list[Check]:
    """Run every check.

    Args:
        model: also say whether this model can be loaded and hardened here.
        folder: where runs would be written.
    """
    checks: dict[str, Callable[[], list[Check]]] = {
        "python": _python,
        "packages": _packages,
        "device": _device,
        "onnxruntime": _onnxruntime,
        "clip_skip": _clip_skip,
        "embedded models": _embedded,
        "hub cache": _cache,
        "disk": lambda: _disk(Path(folder)),
    }
    if model is not None:
        checks[f"model {model}"] = lambda: _model(model)
    rows: list[Check] = []
    for name, check in checks.items():
        try:
            rows += check()
        except Exception as error:  # a broken installation is exactly what doctor is for
            rows.append(Check(name, "problem", f"{type(error).__name__}: {error}"))
    return rows


def as_dicts(rows: list[Check]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [asdict(r) for r in rows]


def _python() -> list[Check]:
    ok = sys.version_info >= (3, 11)
    return [
        Check(
            "python",
            "ok" if ok else "problem",
            f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            "" if ok else "use Python 3.11 or later",
        )
    ]


def _packages() -> list[Check]:
    rows = []
    for name in CORE:
        found = version_of(name)
        rows.append(
            Check(
                name,
                "ok" if found else "problem",
                found or "not installed",
                "" if found else f"pip install {name}",
            )
        )
    return rows


def _device() -> list[Check]:
    from ..device import pick_device

    device = str(pick_device("auto"))
    import torch

    detail = f"{device}, {torch.get_num_threads()} threads"
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info()
        detail = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return [Check("device", "ok", detail)]


def _onnxruntime() -> list[Check]:
    cpu, gpu = version_of("onnxruntime"), version_of("onnxruntime-gpu")
    if cpu and gpu:
        return [
            Check(
                "onnxruntime",
                "problem",
                f"onnxruntime {cpu} and onnxruntime-gpu {gpu} own the same files; which one runs is chance",
                "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
            )
        ]
    if not (cpu or gpu):
        return [
            Check(
                "onnxruntime",
                "note",
                "not installed; needed to export ONNX and for the nudenet detector",
                'pip install "safetext-sdk[onnx]"',
            )
        ]
    import onnxruntime

    return [
        Check(
            "onnxruntime",
            "ok",
            f"{cpu or gpu}, providers: {', '.join(onnxruntime.get_available_providers())}",
        )
    ]


def _clip_skip() -> list[Check]:
    """transformers 5.6 flattened CLIPTextModel; diffusers' own clip_skip still asks for ``.text_model``."""
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            eos_token_id=7,
            bos_token_id=6,
            pad_token_id=7,
        )
    )
    if hasattr(model, "text_model"):
        return [Check("clip_skip", "ok", "diffusers' clip_skip works for SD1/2 with this transformers")]
    return [
        Check(
            "clip_skip",
            "note",
            f"diffusers {version_of('diffusers')} raises on clip_skip for SD1/2 with transformers "
            f"{version_of('transformers')}; "
            "our own conditioning does not",
            "generate without clip_skip, or with transformers < 5.6",
        )
    ]


def _embedded() -> list[Check]:
    """Models whose weights come with a package, so that nothing need be downloaded."""
    from ..models.catalogue import CATALOGUE
    from ..models.source import resolve

    rows = []
    for name, entry in CATALOGUE.items():
        if entry.folder:
            size = sum(f.stat().st_size for f in resolve(name).path.parent.rglob("*") if f.is_file())
            rows.append(Check(name, "ok", f"installed with its package, {size / 1e6:.1f} MB"))
    return rows


def _cache() -> list[Check]:
    from huggingface_hub.constants import HF_HUB_CACHE

    where = Path(HF_HUB_CACHE)
    models = (
        sorted(p.name.removeprefix("models--").replace("--", "/") for p in where.glob("models--*"))
        if where.is_dir()
        else []
    )
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    return [Check("hub cache", "ok", f"{where}: {len(models)} models{', offline' if offline else ''}")]


def _disk(folder: Path) -> list[Check]:
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    return [
        Check(
            "disk",
            "ok" if free > 2 else "problem",
            f"{free:.1f} GB free at {place}",
            "" if free > 2 else "free some space or use --out elsewhere",
        )
    ]


def _memory() -> float | None:
    """Usable memory in GB, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None


def _model(name: str) -> list[Check]:
    from ..models.catalogue import CATALOGUE
    from ..models.source import resolve

    rows = []
    entry = CATALOGUE.get(name)
    if entry is not None:
        have = _memory()
        enough = have is None or entry.memory_gb <= have
        rows.append(
            Check(
                f"memory for {name}",
                "ok" if enough else "problem",
                f"about {entry.memory_gb} GB needed to harden{f', {have:.1f} GB here' if have else ''}",
                "" if enough else "train a LoRA (--lora 16) or use a larger machine",
            )
        )
    source = resolve(name)
    rows.append(Check(f"weights of {name}", "ok", str(source.path)))
    return rows
