"""Keys: what a picture and a score depend on, hashed. A key that is still right means work need not be done
again.

The generation key covers every component of the pipeline by content (not by name: a model that changed under
the same name would otherwise serve stale pictures), prompt, negative prompt, seed, steps, guidance, size,
dtype. The score key adds the detectors. A comment in the policy touches neither.

The kind of device is the cache's folder (`picture_cache.drawn_by`). The shape of the batch, which changes a
last digit here and there, is in neither: what a picture is really drawn with follows from what was there
already, from remainders and from memory, and the batch size that was asked for does not tell it
(docs/validation.md, "The batch is no part of the key").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..results.facts import EncoderState

if TYPE_CHECKING:
    from ..models import TextToImageModel

CANARIES = ("", "a photo of a cat", "a gun on a table", "two knives beside an apple, oil painting")


def digest(value: Any) -> str:
    """sha256 of a JSON value, keys sorted."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()
    ).hexdigest()


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of tensors."""
    out = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        out.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        out.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return out.hexdigest()


def component_sha256(component: Any) -> str:
    """Content hash of one pipeline component: weights, vocabulary or settings."""
    if isinstance(component, torch.nn.Module):
        config: Any = getattr(component, "config", None)
        text = (
            config.to_json_string()
            if hasattr(config, "to_json_string")
            else json.dumps(dict(config or {}), sort_keys=True, default=str)
        )
        return digest([_plain(text), state_sha256(component.state_dict())])
    if hasattr(component, "get_vocab"):
        backend = getattr(component, "backend_tokenizer", None)
        body = json.loads(backend.to_str()) if backend is not None else {"model": component.get_vocab()}
        body = {
            k: v for k, v in body.items() if k not in ("padding", "truncation")
        }  # left over from the last call
        return digest([type(component).__name__, body, component.model_max_length, str(component.pad_token)])
    config = getattr(component, "config", None)
    if config is not None:
        return digest(
            [type(component).__name__, _plain(json.dumps(dict(config), sort_keys=True, default=str))]
        )
    return digest(
        [
            type(component).__name__,
            repr(component)
            if isinstance(component, (str, int, float, bool, type(None), list, tuple))
            else "",
        ]
    )


def _plain(text: str) -> Any:
    """A config without what does not change a picture: where it came from and who wrote it."""
    config = json.loads(text)
    noise = (
        "_name_or_path",
        "transformers_version",
        "_diffusers_version",
        "_use_default_values",
        "architectures",
    )
    return {k: v for k, v in config.items() if k not in noise}


def encoder_sha256(model: TextToImageModel, name: str) -> str:
    """Content hash of one encoder: its weights, or an exported one's file, or else what it answers to fixed
    prompts."""
    encoder = model.encoders[name]
    if isinstance(encoder, torch.nn.Module):
        return state_sha256(encoder.state_dict())
    if isinstance(known := getattr(encoder, "sha256", None), str):
        return known
    return state_sha256({k: v.float() for k, v in model.encode(list(CANARIES)).tensors.items()})


def model_fingerprint(model: TextToImageModel) -> dict[str, str]:
    """Component name -> content hash, for everything that a picture of this model depends on; under
    ``options`` what its pipeline is told beside them (SDXL: whether the empty negative prompt is zeros)."""
    out = {name: encoder_sha256(model, name) for name in model.encoders}
    if model.reader.makes_pictures:
        pipe = model.pipeline()
        components = getattr(pipe, "components", {})
        options = {
            key: value
            for key, value in dict(getattr(pipe, "config", {})).items()
            if not key.startswith("_") and key not in (*components, "requires_safety_checker")
        }
        if options:
            out["options"] = digest(sorted((key, repr(value)) for key, value in options.items()))
        for name, component in components.items():
            if (
                name not in out
                and component is not None
                and name not in ("safety_checker", "feature_extractor")
            ):
                out[name] = component_sha256(component)
    return out


def encoder_states(
    original: TextToImageModel, hardened: TextToImageModel, probes: list[str], tolerance: float = 1e-3
) -> dict[str, EncoderState]:
    """For each encoder that reads the prompt: ``"hardened"`` or ``"untouched"``.

    Untouched means equal weights, or an answer to the unsafe ``probes`` that moved by less than ``tolerance``
    (relative L2): a weight that changed in its last bit hardens nothing.
    """
    from typing import cast

    out: dict[str, EncoderState] = {}
    for name in original.encoders:
        if name not in hardened.encoders:
            out[name] = "untouched"
            continue
        old, new = original.encoders[name], hardened.encoders[name]
        both = isinstance(old, torch.nn.Module) and isinstance(new, torch.nn.Module)
        if old is new or (both and state_sha256(old.state_dict()) == state_sha256(new.state_dict())):
            out[name] = "untouched"
            continue
        mixed = original.with_encoders({**original.encoders, name: cast(Any, new)})
        before, after = original.encode(probes).flat().float(), mixed.encode(probes).flat().float()
        moved = ((after - before).norm(dim=-1) / before.norm(dim=-1).clamp_min(1e-12)).mean()
        out[name] = "hardened" if bool(moved > tolerance) else "untouched"
    return out
