"""LoRA files of other people, merged into a copy of an encoder: peft's adapters, diffusers' LoRA files (both
spellings) and kohya's.

A LoRA changes a weight by ``scale * up @ down`` (Hu et al., LoRA, arXiv 2106.09685, section 4.1), with
``scale = alpha / rank``, or ``alpha / sqrt(rank)`` where peft's ``use_rslora`` says so. Everything in a file
must be understood: a weight that is left out would make another encoder than the one that its users load.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WEIGHT = re.compile(
    r"(?P<stem>.+?)\.(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up"
    r"|lora_linear_layer\.down|lora_linear_layer\.up)(\.default)?\.weight"
)
_DOWN = ("lora_A", "lora_down", "lora.down", "lora_linear_layer.down")
_KOHYA = {"lora_te": "text_encoder", "lora_te1": "text_encoder"}
_KOHYA |= {f"lora_te{number}": f"text_encoder_{number}" for number in (2, 3, 4)}
_DENOISER = ("unet.", "transformer.", "lora_unet_", "lora_transformer_")


@dataclass
class _Change:
    """What a file says about one layer: ``down`` [rank, in], ``up`` [out, rank]."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class Lora:
    """A LoRA file as read.

    Attributes:
        changes: encoder ("" where the file names none) -> layer as the file spells it -> change.
        config: peft's configuration; empty where there is none.
        denoiser: whether the file changes the denoiser as well, which is left out.
    """

    changes: dict[str, dict[str, _Change]]
    config: Mapping[str, Any] = field(default_factory=dict)
    denoiser: bool = False

    def scale(self, encoder: str, layer: str, change: _Change) -> float:
        """The factor of one change."""
        assert change.down is not None
        rank = int(change.down.shape[0])
        alpha = change.alpha
        if alpha is None:
            config = self.config.get(encoder, self.config.get("", {}))
            alpha = _by_pattern(config.get("alpha_pattern") or {}, layer, config.get("lora_alpha"))
            if alpha is not None and config.get("use_rslora"):
                root: float = rank**0.5
                return float(alpha) / root
        # Without an alpha the published loaders take the rank: the change counts as it is.
        return 1.0 if alpha is None else float(alpha) / rank


def is_lora(keys: Iterable[str]) -> bool:
    """Whether tensor names are those of a LoRA."""
    return any(_WEIGHT.fullmatch(key) or key.startswith("lora_te") for key in keys)


def read_lora(path: Path, config: Path | None = None) -> Lora:
    """Read a LoRA file.

    Args:
        path: safetensors.
        config: peft's ``adapter_config.json``; None where there is none.

    Raises:
        ModelError: not a plain LoRA (DoRA, LoHa, LoKr, a saved bias or whole layer), or half a pair.
    """
    from safetensors import safe_open

    found: dict[str, dict[str, _Change]] = {}
    denoiser = False
    with safe_open(path, framework="pt") as handle:
        metadata = handle.metadata() or {}
        for key in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
            if key.removeprefix("base_model.model.").startswith(_DENOISER):
                denoiser = True
                continue
            stem, part = _parts(key, path)
            encoder, layer = _whose(stem)
            change = found.setdefault(encoder, {}).setdefault(layer, _Change())
            tensor = handle.get_tensor(key).float()
            if part == "alpha":
                change.alpha = float(tensor)
            elif part in _DOWN:
                change.down = tensor
            else:
                change.up = tensor
    for layers in found.values():
        for layer, change in layers.items():
            if change.down is None or change.up is None or change.down.ndim != 2 or change.up.ndim != 2:
                raise ModelError(f"{path} has half a LoRA for {layer}, or one for a layer that is not linear")
    if not found:
        raise ModelError(f"{path} is a LoRA of the denoiser alone: there is no encoder in it to audit")
    return Lora(found, _config(config, metadata, path), denoiser)


def _parts(key: str, path: Path) -> tuple[str, str]:
    if key.endswith(".alpha"):
        return key.removesuffix(".alpha"), "alpha"
    match = _WEIGHT.fullmatch(key)
    if match is None:
        raise ModelError(f"{path} has {key}, which is no part of a plain LoRA; merge it and audit the result")
    return match["stem"], match["part"]


def _whose(stem: str) -> tuple[str, str]:
    """Encoder and layer of a name in the file; kohya writes ``_`` for every dot of the layer."""
    stem = stem.removeprefix("base_model.model.")
    head, _, layer = stem.partition(".")
    if re.fullmatch(r"text_encoder(_\d)?", head):
        return head, layer
    for prefix in sorted(_KOHYA, key=len, reverse=True):
        if stem.startswith(f"{prefix}_"):
            return _KOHYA[prefix], stem.removeprefix(f"{prefix}_")
    return "", stem


def _config(file: Path | None, metadata: Mapping[str, str], path: Path) -> dict[str, dict[str, Any]]:
    """peft's settings by encoder: of its own file, or as diffusers writes them into the header."""
    try:
        if file is not None:
            settings = {"": json.loads(file.read_text(encoding="utf-8"))}
        else:
            settings = {}
            for key, value in json.loads(metadata.get("lora_adapter_metadata", "{}")).items():
                encoder, _, name = key.partition(".")
                settings.setdefault(encoder, {})[name] = value
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"the settings of the LoRA {path} cannot be read: {error}") from error
    for each in settings.values():
        if each.get("peft_type", "LORA") != "LORA" or each.get("use_dora"):
            kind = "DORA" if each.get("use_dora") else each["peft_type"]
            raise ModelError(f"{path} is of the kind {kind}, not a plain LoRA; merge it and audit the result")
    return settings


def _by_pattern(patterns: Mapping[str, float], layer: str, usual: float | None) -> float | None:
    """peft's rule: a pattern is a regular expression that the end of the layer's name must match."""
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            return value
    return usual


def merge(lora: Lora, encoders: Mapping[str, Any], path: Path) -> dict[str, nn.Module]:
    """Copies of the encoders that a LoRA changes, changed.

    Args:
        lora: as read.
        encoders: of the model that it is put on, by name.
        path: for messages.

    Raises:
        ModelError: a layer that no encoder has, or one of another size.
    """
    out: dict[str, nn.Module] = {}
    for named, changes in lora.changes.items():
        name = named or _fitting(encoders, changes, path)
        if not isinstance(encoders.get(name), nn.Module):
            raise ModelError(f"{path} changes {name}, which this model does not have")
        encoder = out.get(name) or copy.deepcopy(encoders[name])
        layers = _layers(encoder)
        with torch.no_grad():
            for layer, change in changes.items():
                weight = layers.get(_plain(layer))
                assert change.up is not None
                assert change.down is not None
                if weight is None or weight.shape != (change.up.shape[0], change.down.shape[1]):
                    raise ModelError(f"{path} changes {layer}, which {name} does not have in that size")
                moved = lora.scale(named, layer, change) * (change.up @ change.down)
                weight.copy_((weight.float().cpu() + moved).to(weight.dtype))
        out[name] = encoder
    return out


def _layers(encoder: nn.Module) -> dict[str, Tensor]:
    return {
        _plain(name): module.weight
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear)
    }


def _plain(layer: str) -> str:
    """A layer's name, whatever stands for the dots and whether or not it has the level ``text_model``."""
    return layer.replace(".", "_").removeprefix("text_model_")


def _fitting(encoders: Mapping[str, Any], changes: Mapping[str, _Change], path: Path) -> str:
    fits = [
        name
        for name, encoder in encoders.items()
        if isinstance(encoder, nn.Module) and {_plain(layer) for layer in changes} <= set(_layers(encoder))
    ]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise ModelError(f"{path} changes {next(iter(changes))}, which no encoder of this model has")
    raise ModelError(f"{path} fits {' and '.join(fits)}; put it in a folder with the encoder's name")
