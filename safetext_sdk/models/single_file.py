"""Single-file checkpoints in the LDM layout: Stable Diffusion 1.x and SDXL, safetensors only.

Such a file holds weights and nothing else. Configurations and tokenizers come from a diffusers folder: the
one that is given, the one that the file lies in, or the published model of the family. Hardened encoders are
written in the diffusers form; `docs/models.md` says how to use them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ModelError
from .checks import PICKLE_SUFFIXES, read_config, read_header, refuse_pickle
from .source import Source, download

if TYPE_CHECKING:
    from .loading import EncoderFiles
    from .model import TextToImageModel

_SD1 = "cond_stage_model.transformer."
_XL_L = "conditioner.embedders.0.transformer."
_XL_G = "conditioner.embedders.1.model."
_COMPANION = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
}
_NEEDED = [
    "model_index.json",
    "tokenizer*/*",
    "text_encoder*/config.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/*",
]
# OpenCLIP's names for the parts of one block, and transformers'.
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_TOP = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}


def load_single_file(
    source: Source, device: torch.device, dtype: torch.dtype, companion: str | Path | None
) -> TextToImageModel:
    """A model from one LDM checkpoint.

    Args:
        source: its file.
        device, dtype: where to, and as what.
        companion: diffusers folder with tokenizers and configurations of this family; None = the folder of
            the file itself if it is one, else the published model, from cache or hub.

    Raises:
        ModelError: a pickle, truncated, neither SD 1.x nor SDXL, or no companion at hand.
    """
    from .loading import EncoderFiles, Layout, check_tokenizer, load_encoder, load_tokenizer
    from .model import TextToImageModel

    path = source.path
    if path.suffix in PICKLE_SUFFIXES:
        raise refuse_pickle(path)
    header = read_header(path)
    family = _family(header, path)
    if companion is None and (path.parent / "model_index.json").is_file():
        companion = path.parent
    folder = Path(companion).resolve() if companion is not None else _published(path, family)
    classes = {"text_encoder": "CLIPTextModel"} | (
        {"text_encoder_2": "CLIPTextModelWithProjection"} if family == "sdxl" else {}
    )
    layout = Layout(folder)
    for name, kind in classes.items():
        stored = {key: str(entry["dtype"]) for key, entry in _parts(header, name, family).items()}
        layout.encoders[name] = EncoderFiles(name, folder / name, kind, [path], stored, single=family)
        layout.tokenizers[name] = folder / name.replace("text_encoder", "tokenizer")
    encoders = {name: load_encoder(files, device, dtype) for name, files in layout.encoders.items()}
    tokenizers = {name: load_tokenizer(place) for name, place in layout.tokenizers.items()}
    for name, encoder in encoders.items():
        check_tokenizer(tokenizers[name], encoder, layout.tokenizers[name])
    options: dict[str, Any] = {}
    if (folder / "model_index.json").is_file():
        options["pipeline_config"] = str(folder)
        if family == "sdxl":
            options["force_zeros_for_empty_prompt"] = bool(
                read_config(folder, "model_index.json").get("force_zeros_for_empty_prompt", True)
            )
    source.names, source.tokenizer = [path.name], str(folder) if companion is not None else None
    return TextToImageModel(source.id, family, source, encoders, tokenizers, device, dtype, options, layout)


def _published(path: Path, family: str) -> Path:
    try:
        return download(_COMPANION[family], None, _NEEDED)[0]
    except ModelError as error:
        raise ModelError(
            f"{path} holds no tokenizer and no configuration, and those of the published model cannot be "
            ""
            ""
            f"had ({error}); or put the file "
            f"into a diffusers folder of its family, or name one: load_model(file, tokenizer=folder)"
        ) from error


def read_single(files: EncoderFiles, device: torch.device, dtype: torch.dtype) -> Any:
    """One encoder out of an LDM checkpoint, with the companion's configuration."""
    import transformers
    from safetensors import safe_open

    from .loading import quiet

    path = files.weights[0]
    config = read_config(files.folder)
    with quiet(), safe_open(path, framework="pt") as handle:
        state = convert(
            {
                key: handle.get_tensor(source)
                for key, source in _names(list(handle.keys()), files.name, files.single).items()
            }
        )
        kind = getattr(transformers, files.class_name)
        encoder = kind(kind.config_class.from_dict(config)).eval()
    own = set(encoder.state_dict())
    wanted = {key if key in own else key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    wanted = {key: tensor for key, tensor in wanted.items() if not key.endswith("position_ids")}
    try:
        missing, unexpected = encoder.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: {files.name} does not fit {files.folder / 'config.json'}: wrong architecture"
        ) from error
    missing = [key for key in missing if not key.endswith("position_ids")]
    if missing or unexpected:
        raise ModelError(
            f"{path}: {files.name} does not fit {files.folder / 'config.json'} "
            ""
            ""
            f"({[*missing, *unexpected][0]}): wrong architecture"
        )
    encoder.requires_grad_(False)
    return encoder.to(device, dtype)


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's or transformers' tensor names to transformers' prefixed ones; joined attention weights are
    split in three."""
    if not any(key.startswith("transformer.resblocks.") for key in state):
        return dict(state)
    out: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key in _TOP:
            out[_TOP[key]] = tensor
        elif key == "text_projection":
            out["text_projection.weight"] = tensor.T.contiguous()
        elif key.startswith("transformer.resblocks."):
            number, _, rest = key.removeprefix("transformer.resblocks.").partition(".")
            layer = f"text_model.encoder.layers.{number}."
            if rest.startswith("attn.in_proj_"):
                for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                    out[f"{layer}self_attn.{part}_proj.{rest.removeprefix('attn.in_proj_')}"] = (
                        piece.contiguous()
                    )
            else:
                stem, _, kind = rest.rpartition(".")
                out[f"{layer}{_BLOCK[stem]}.{kind}"] = tensor
    return out


def _family(header: dict[str, Any], path: Path) -> str:
    if any(key.startswith(_XL_G) for key in header):
        return "sdxl"
    if any(key.startswith(_SD1) for key in header):
        return "sd1"
    raise ModelError(
        f"{path} holds no text encoder in the layout of Stable Diffusion 1.x or SDXL; use the model's "
        ""
        ""
        ""
        "diffusers folder"
    )


def _names(keys: list[str], name: str, family: str) -> dict[str, str]:
    prefix = _SD1 if family == "sd1" else _XL_L if name == "text_encoder" else _XL_G
    return {
        key.removeprefix(prefix): key
        for key in keys
        if key.startswith(prefix) and not key.endswith("logit_scale")
    }


def _parts(header: dict[str, Any], name: str, family: str) -> dict[str, Any]:
    """Header entries of one encoder under their final names; a joined tensor's type counts for each of its
    parts."""
    found = {key: header[source] for key, source in _names(list(header), name, family).items()}
    empty = {
        key: torch.empty(3 if "in_proj" in key else (1, 1) if key == "text_projection" else 1)
        for key in found
    }
    named = convert(empty)
    kind = next(iter(found.values()))["dtype"] if found else "F32"
    return {key: found.get(key, {"dtype": kind}) for key in named}
