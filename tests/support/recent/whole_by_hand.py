"""FLUX.2 dev, Qwen-Image 2.1 and Kandinsky 5 with denoiser and VAE, so that they draw: all of the pipeline is
diffusers' own but for the processor, which cannot be loaded without torchvision. A stand-in that only takes
text has its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..minis import _vae
from .by_hand import _WithPictures, build_by_hand
from .common import flow
from .qwen import _flux2_transformer, _flux2_vae


def _qwenimage21_parts() -> dict[str, Any]:
    from diffusers import AutoencoderKLQwenImage21, QwenImage21Transformer2DModel

    transformer = QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    vae = AutoencoderKLQwenImage21(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return {"transformer": transformer, "vae": vae}


def _kandinsky5_parts() -> dict[str, Any]:
    from diffusers import Kandinsky5Transformer3DModel

    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=32,
        in_text_dim2=32,
        time_dim=16,
        model_dim=32,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
    )
    return {"transformer": transformer, "vae": _vae()}


def _flux2_dev_parts() -> dict[str, Any]:
    return {"transformer": _flux2_transformer(96), "vae": _flux2_vae()}


PARTS = {
    "flux2-dev": _flux2_dev_parts,
    "qwenimage21": _qwenimage21_parts,
    "kandinsky5": _kandinsky5_parts,
}


def build_whole(name: str, folder: Path) -> Path:
    """The folder of `build_by_hand` with the parts that draw."""
    build_by_hand(name)[0](folder)
    torch.manual_seed(0)
    index = json.loads((folder / "model_index.json").read_text())
    for part, module in {**PARTS[name](), "scheduler": flow()}.items():
        module.save_pretrained(folder / part)
        index[part] = ["diffusers", type(module).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def load_whole(model: Any) -> Any:
    """In the place of `models.pipelines._load`: the same parts from the same folder, and the stand-in."""
    import diffusers

    folder = model.source.path
    index = json.loads((folder / "model_index.json").read_text())
    processor = "processor" if "processor" in index else "tokenizer"
    parts = {
        part: getattr(diffusers, index[part][1]).from_pretrained(folder / part)
        for part in ("transformer", "vae", "scheduler")
    }
    parts |= dict(model.encoders)
    if "tokenizer_2" in index:
        parts["tokenizer_2"] = model.tokenizers["text_encoder_2"]
    parts[processor] = _WithPictures(model.tokenizers["text_encoder"])
    pipe = getattr(diffusers, index["_class_name"])(**parts)
    if hasattr(pipe, "resolutions"):
        pipe.resolutions = [(32, 32)]  # Kandinsky's smallest picture has a megapixel
    pipe.set_progress_bar_config(disable=True)
    return pipe
