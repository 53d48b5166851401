"""A diffusers folder as one file in the LDM layout, by rules of the tests' own: what a published SD 1.x or
SDXL checkpoint looks like."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_PREFIXES = {
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
_RES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def unet_name(key: str, layers: int) -> str:
    """One UNet weight's name in the LDM layout; ``layers``: residual layers of a down block."""
    stem, _, kind = key.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{kind}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", key):
        part, number, rest = found.groups()
        return f"middle_block.{1 if part == 'attentions' else 2 * int(number)}.{_inner(part, rest)}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", key)
    assert found is not None, key
    side, block, part, number, rest = found.groups()
    if part == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.op.{kind}"
    place = f"input_blocks.{1 + int(block) * (layers + 1) + int(number)}" if side == "down" else ""
    if side == "up":
        last = layers if part == "upsamplers" else int(number)
        place = f"output_blocks.{int(block) * (layers + 1) + last}"
    if part == "upsamplers":
        return f"{place}.2.conv.{kind}"
    return f"{place}.{int(part == 'attentions')}.{_inner(part, rest)}"


def _inner(part: str, rest: str) -> str:
    if part == "attentions":
        return rest
    stem, _, kind = rest.rpartition(".")
    return f"{_RES[stem]}.{kind}"


def vae_name(key: str, blocks: int) -> str:
    """One VAE weight's name in the LDM layout."""
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    key = key.replace("mid_block.attentions.0", "mid.attn_1")
    if "attn_1" in key:
        for old, new in (
            ("group_norm", "norm"),
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
        ):
            key = key.replace(old, new)
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", key)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", key)


def openclip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Transformers' names to OpenCLIP's, query, key and value joined."""
    out: dict[str, Tensor] = {"logit_scale": torch.tensor(4.6)}
    layers = 1 + max(int(m[1]) for key in state if (m := re.search(r"layers\.(\d+)\.", key)))
    for key, value in state.items():
        key = key.removeprefix("text_model.")
        if key == "text_projection.weight":
            out["text_projection"] = value.t().contiguous()
        elif key.startswith("embeddings."):
            out["token_embedding.weight" if "token" in key else "positional_embedding"] = value
        elif key.startswith("final_layer_norm"):
            out[key.replace("final_layer_norm", "ln_final")] = value
        elif "self_attn" not in key or "out_proj" in key:
            name = (
                key.replace("encoder.layers", "transformer.resblocks")
                .replace("layer_norm", "ln_")
                .replace("self_attn", "attn")
            )
            out[name.replace("fc1", "c_fc").replace("fc2", "c_proj")] = value
    for i in range(layers):
        for kind in ("weight", "bias"):
            parts = [state[f"text_model.encoder.layers.{i}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
            out[f"transformer.resblocks.{i}.attn.in_proj_{kind}"] = torch.cat(parts)
    return out


def single_file(folder: Path, target: Path) -> Path:
    """Write the pipeline in ``folder`` as one file. It holds two encoders if the folder does (SDXL)."""

    def part(name: str) -> dict[str, Tensor]:
        (file,) = (folder / name).glob("*.safetensors")
        return load_file(file)

    def clip(name: str) -> dict[str, Tensor]:
        return {
            k if k.startswith(("text_model.", "text_projection.")) else f"text_model.{k}": v
            for k, v in part(name).items()
        }

    unet = part("unet")
    layers = 1 + max(int(m[1]) for key in unet if (m := re.match(r"down_blocks\.0\.resnets\.(\d)", key)))
    out = {f"model.diffusion_model.{unet_name(key, layers)}": value for key, value in unet.items()}
    vae = part("vae")
    blocks = 1 + max(int(m[1]) for key in vae if (m := re.match(r"decoder\.up_blocks\.(\d)", key)))
    for key, value in vae.items():
        name = vae_name(key, blocks)
        attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
        out[f"first_stage_model.{name}"] = (
            value[:, :, None, None] if attention else value
        )  # 1x1 convolutions there
    first = {**clip("text_encoder"), "text_model.embeddings.position_ids": torch.arange(77)[None]}
    if (folder / "text_encoder_2").is_dir():
        out |= {f"conditioner.embedders.0.transformer.{key}": value for key, value in first.items()}
        out |= {
            f"conditioner.embedders.1.model.{key}": value
            for key, value in openclip(clip("text_encoder_2")).items()
        }
    else:
        out |= {f"cond_stage_model.transformer.{key}": value for key, value in first.items()}
    save_file({key: value.contiguous() for key, value in out.items()}, target)
    return target


def checkpoint(model: Any, path: Path, dtype: torch.dtype = torch.float16) -> Path:
    """A single-file checkpoint in the LDM layout: encoders under their prefixes between other tensors."""
    torch.manual_seed(2)
    state = {
        "model.diffusion_model.a": torch.randn(5, 7),
        "first_stage_model.z": torch.randn(33).half(),
        "alphas": torch.randn(3).double(),
    }
    for name, prefix in _PREFIXES.items():
        if name not in model.encoders:
            continue
        prefix = prefix if len(model.encoders) > 1 else "cond_stage_model.transformer."
        own = {k: v.to(dtype) for k, v in _nested(model.encoders[name].state_dict()).items()}
        own = (
            openclip(own)
            if name == "text_encoder_2"
            else {**own, "text_model.embeddings.position_ids": torch.arange(77)[None]}
        )
        state |= {prefix + key: value.contiguous() for key, value in own.items()}
    save_file(state, path, metadata={"modelspec.title": "a test"})
    return path


def _nested(state: dict[str, Tensor]) -> dict[str, Tensor]:
    head = ("text_model.", "text_projection.")
    return {
        k if k.startswith(head) else f"text_model.{k}": v
        for k, v in state.items()
        if not k.endswith("position_ids")
    }
