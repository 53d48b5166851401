"""Target ``comfyui``: ``clip_l.safetensors``, ``clip_g.safetensors``, ``t5xxl.safetensors``,
``qwen_3_4b.safetensors`` with the keys that ComfyUI's text-encoder loader looks for.

Keys and shapes are checked; the files were NOT run in ComfyUI, and the result says so. The loader tells
encoders apart by a layer's name (layer 30: CLIP-G, layer 22: CLIP-H, layer 0: CLIP-L) and builds them with
fixed sizes, so another size is refused here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safetext_sdk.errors import ModelError
from safetext_sdk.models.families.ldm_keys import prefixed

from .base import (
    Exporter,
    ExportResult,
    Options,
    Subject,
    comfyui_encoders,
    left_out,
    self_check,
    staging,
    write_record,
)
from .comfyui_language import is_language, is_qwen3, language_file, language_state

SIZES = {"clip_g": (32, 1280, 5120), "clip_h": (24, 1024, 4096), "clip_l": (12, 768, 3072)}
"""File name to (layers, width, inner width) of the encoder that ComfyUI builds for it; clip_h may have 23
layers, as diffusers keeps it."""
_TYPES = {"fp16": torch.float16, "fp32": torch.float32, "bf16": torch.bfloat16}
_NOT_RUN = "key and shape check only; not run in ComfyUI"


def file_name(keys: set[str]) -> str:
    """What ComfyUI takes these keys for.

    Raises:
        ModelError: for no CLIP encoder.
    """
    for layer, name in ((30, "clip_g"), (22, "clip_h"), (0, "clip_l")):
        if f"text_model.encoder.layers.{layer}.mlp.fc1.weight" in keys:
            return name
    raise ModelError("no key by which ComfyUI recognises a CLIP text encoder")


def check_keys(state: dict[str, Tensor]) -> str:
    """Compare names and shapes with the encoder that ComfyUI builds; returns the file's name without suffix.

    Raises:
        ModelError: the first name that is missing or spare, or a shape that differs.
    """
    name = file_name(set(state))
    layers, width, inner = SIZES[name]
    if name == "clip_h" and "text_model.encoder.layers.23.mlp.fc1.weight" not in state:
        layers = 23
    shapes: dict[str, tuple[int, ...]] = {
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
        "text_model.final_layer_norm.weight": (width,),
        "text_model.final_layer_norm.bias": (width,),
    }
    for i in range(layers):
        layer = f"text_model.encoder.layers.{i}."
        shapes |= {
            f"{layer}{n}.{k}": (width,) for n in ("layer_norm1", "layer_norm2") for k in ("weight", "bias")
        }
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {
                f"{layer}self_attn.{part}.weight": (width, width),
                f"{layer}self_attn.{part}.bias": (width,),
            }
        shapes |= {f"{layer}mlp.fc1.weight": (inner, width), f"{layer}mlp.fc1.bias": (inner,)}
        shapes |= {f"{layer}mlp.fc2.weight": (width, inner), f"{layer}mlp.fc2.bias": (width,)}
    if name == "clip_g" or "text_projection.weight" in state:
        shapes["text_projection.weight"] = (width, width)
    for key, shape in shapes.items():
        if key not in state:
            raise ModelError(f"ComfyUI's {name} needs {key}, which this encoder lacks")
        if tuple(state[key].shape) != shape:
            raise ModelError(
                f"ComfyUI builds {name} with {key} of {list(shape)}; this encoder has "
                f"{list(state[key].shape)}"
            )
    if spare := sorted(set(state) - set(shapes)):
        raise ModelError(f"ComfyUI's {name} has no {spare[0]}")
    return name


class ComfyUIOptions(Options):
    """``dtype``: ``fp16``, ``bf16`` or ``fp32``; None = bf16 for Qwen3, which was trained in it, else fp16.
    ``any_size``: write encoders of other sizes too (for a custom loader;
    stock ComfyUI will not read them)."""

    dtype: str | None = None
    any_size: bool = False


def export_comfyui(subject: Subject, out: Path, options: ComfyUIOptions) -> ExportResult:
    """Write one safetensors file for each CLIP, T5 and Qwen3 encoder, to be put into
    ``ComfyUI/models/text_encoders/``.

    Args:
        subject: what is exported.
        out: folder to write.
        options: see `ComfyUIOptions`.

    Raises:
        ModelError: no such encoder, an unknown dtype, or names and shapes that ComfyUI would not take.
    """
    if options.dtype not in (None, *_TYPES):
        raise ModelError(f"unknown dtype {options.dtype!r}; known: {', '.join(_TYPES)}")
    encoders = comfyui_encoders(subject, "comfyui")
    with staging(out) as folder:
        for encoder in encoders.values():
            _write(encoder, folder, options)
        checked = {"checked": _NOT_RUN, "self_check": self_check(subject, folder)}
        files = write_record(folder, subject, "comfyui", options.model_dump(), checked)
    notes = left_out(subject, encoders, "CLIP, T5 and Qwen3")
    return ExportResult("comfyui", out, out, files, {}, (*notes, _NOT_RUN))


def _write(encoder: Any, folder: Path, options: ComfyUIOptions) -> None:
    from safetensors.torch import save_file

    language = is_language(encoder)
    dtype = _TYPES[options.dtype or ("bf16" if is_qwen3(encoder) else "fp16")]
    named = language_state(encoder) if language else prefixed(encoder.state_dict())
    state = {
        key: value.detach().to("cpu", dtype).clone().contiguous() for key, value in sorted(named.items())
    }
    if language:
        name = language_file(encoder, options.any_size)
    else:
        name = file_name(set(state)) if options.any_size else check_keys(state)
    if (folder / f"{name}.safetensors").exists():
        raise ModelError(f"two encoders of this model would both be {name}")
    save_file(state, folder / f"{name}.safetensors", metadata={"format": "pt"})


EXPORTER = Exporter(ComfyUIOptions, export_comfyui)
