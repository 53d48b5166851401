"""A safetensors file without a configuration: the original's encoder of the same shapes says what it is.

Names differ between publishers and versions: with or without ``text_model.``, under the prefix of a
checkpoint (``cond_stage_model.transformer.``) or of a trainer (``module.``), with OpenCLIP's names. What a
text encoder does not compute with (the vision half of a CLIPModel, ``logit_scale``) is left out; a weight
that is missing is an error, never a random one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .families import all_families
from .families.ldm_keys import IGNORED, to_transformers, under

if TYPE_CHECKING:
    from .model import TextToImageModel

_PREFIXES = (
    *("", "text_encoder.", "text_encoder_2.", "text_encoder_3.", "module.", "model.", "encoder."),
    *("cond_stage_model.model.", "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."),
    *("clip_l.transformer.", "clip_g.transformer."),
)
_NOT_TEXT = (
    *("vision_model.", "visual_projection.", "visual.", "model.diffusion_model.", "first_stage_model."),
    *("unet.", "vae."),
)


def read_bare(path: Path, keys: Mapping[str, Any], original: TextToImageModel) -> dict[str, nn.Module]:
    """The encoders in a file, by name, in the type and on the device of the original's.

    Args:
        path: safetensors.
        keys: its header.
        original: whose encoders are looked for.

    Raises:
        ModelError: no encoder of the original is in it, with every weight.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        return _find(list(keys), handle.get_tensor, original, path.name)


def from_state(state: Mapping[str, Tensor], original: TextToImageModel, what: str) -> dict[str, nn.Module]:
    """As `read_bare`, from weights in memory (a ComfyUI text encoder's state). ``what``: for messages."""
    return _find(list(state), lambda key: state[key].detach().cpu(), original, what)


def _find(
    keys: Sequence[str], take: Callable[[str], Tensor], original: TextToImageModel, what: str
) -> dict[str, nn.Module]:
    out: dict[str, nn.Module] = {}
    nearest, lacking = math.inf, "none of its encoders is made of tensors"
    for name, encoder in original.encoders.items():
        if not isinstance(encoder, nn.Module):
            continue
        for prefix in _prefixes(keys, name):
            found = {k: source for k, source in under(keys, prefix).items() if not k.startswith(_NOT_TEXT)}
            state = to_transformers({k: take(source) for k, source in found.items()})
            matched, missing = _match(state, encoder)
            if not missing:
                other = copy.deepcopy(encoder)
                other.load_state_dict(matched, strict=False)
                out[name] = other
                break
            if len(missing) < nearest:
                nearest, lacking = len(missing), f"{name} lacks {missing[0]} in its size"
    if not out:
        raise ModelError(f"{what} has no encoder of {original.id} ({len(keys)} tensors; {lacking})")
    return out


def _prefixes(keys: Iterable[str], encoder: str) -> list[str]:
    """Prefixes that the file has: those of its families for this encoder first."""
    families = [f.single_file.prefixes.get(encoder, "") for f in all_families() if f.single_file]
    own = f"{encoder}."
    names = list(keys)
    others = [p for p in _PREFIXES if not p.startswith("text_encoder") or p == own]
    wanted = dict.fromkeys([*(p for p in families if p), own, *others])
    return [p for p in wanted if any(key.startswith(p) for key in names)]


def _match(state: Mapping[str, Tensor], encoder: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Weights by the encoder's own names, and the names for which there is none."""
    own = encoder.state_dict()
    matched: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith(IGNORED):
            continue
        names = (key, key.removeprefix("text_model."), f"text_model.{key}")
        found = next((n for n in names if n in own and own[n].shape == tensor.shape), None)
        if found is not None:
            matched[found] = tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    tied = {own[key].data_ptr() for key in matched}
    missing = [
        key
        for key, tensor in own.items()
        if key not in matched and not key.endswith(IGNORED) and tensor.data_ptr() not in tied
    ]
    return matched, sorted(missing)
