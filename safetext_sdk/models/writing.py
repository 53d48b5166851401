"""Writing a hardened encoder so that every reader takes it for what it is.

* Keys of CLIP encoders always start with ``text_model.``: transformers >= 5.6 dropped that level, and 4.57
  then loads RANDOM weights with no more
  than a warning. Other architectures get the very keys of the source file.
* Each tensor keeps the type it had in the source; config.json is copied byte for byte; ``metadata =
  {"format": "pt"}``.
* Tokenizers go beside, with vocab.json and merges.txt, which transformers 4.57 needs and transformers 5 no
  longer writes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..files import atomic_folder
from .layout import EncoderFiles, is_tokenizer_file, nested_key

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def file_keys(encoder: nn.Module, files: EncoderFiles) -> dict[str, str]:
    """``{key in the file: key in the module}`` for every tensor that is to be written."""
    own = encoder.state_dict()
    if files.architecture.nested_keys:
        return {nested_key(key): key for key in own if not key.endswith("position_ids")}
    out = {}
    bare = {_bare(key): key for key in own}
    for stored in files.stored:
        match = (
            stored
            if stored in own
            else next((k for k in own if stored.endswith(f".{k}") or k.endswith(f".{stored}")), None)
        ) or bare.get(_bare(stored))
        if match is not None:
            out[stored] = match
    lost = set(own) - set(out.values())
    # A tied tensor is stored once under one of its names.
    tied = {own[k].data_ptr() for k in out.values()}
    if lost := {k for k in lost if own[k].data_ptr() not in tied}:
        raise ModelError(f"{files.folder}: no name in the source file for {sorted(lost)[0]}")
    return out


def _bare(key: str) -> str:
    """A language model's weight without the levels that transformers has put around it and taken away again:
    ``model.layers.0`` was ``language_model.model.layers.0`` and is ``model.language_model.layers.0``."""
    parts = key.split(".")
    while parts and parts[0] in ("model", "language_model"):
        parts = parts[1:]
    return ".".join(parts)


def stored_type(files: EncoderFiles, key: str) -> torch.dtype:
    """The type that the source file gave to a tensor (a source without the ``text_model.`` level is looked up
    without it)."""
    kind = files.stored.get(key) or files.stored.get(key.removeprefix("text_model."))
    if kind is None:
        kind = next(iter(files.stored.values()), "F32")
    return _TYPES.get(kind, torch.float32)


def encoder_state(encoder: nn.Module, files: EncoderFiles) -> dict[str, Tensor]:
    """What goes into the file: prefixed keys, the source's types, contiguous, on the CPU."""
    own = encoder.state_dict()
    return {
        name: own[key].detach().to("cpu", stored_type(files, name)).contiguous()
        for name, key in sorted(file_keys(encoder, files).items())
    }


def round_to_stored(encoder: nn.Module, files: EncoderFiles) -> None:
    """Round a module's weights, in place, to what the file will hold: what is measured is then what is
    shipped."""
    own = encoder.state_dict()
    with torch.no_grad():
        for name, key in file_keys(encoder, files).items():
            own[key].copy_(own[key].to(stored_type(files, name)).to(own[key].dtype))


def write_encoder(encoder: nn.Module, files: EncoderFiles, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json`` into ``folder`` (whole or not at all)."""
    from safetensors.torch import save_file

    with atomic_folder(folder) as temporary:
        # Tied tensors would be refused by save_file if they shared memory; encoder_state gives every name its
        # own copy on a cast only.
        state, seen = encoder_state(encoder, files), set()
        for name, tensor in state.items():
            if tensor.data_ptr() in seen:
                state[name] = tensor.clone()
            seen.add(tensor.data_ptr())
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        shutil.copyfile(files.folder / "config.json", temporary / "config.json")


def write_tokenizer(tokenizer: Any, source: Path, folder: Path) -> None:
    """Copy a tokenizer's files; vocab.json and merges.txt are taken out of tokenizer.json where the source
    has only that."""
    with atomic_folder(folder) as temporary:
        for path in source.iterdir():
            if is_tokenizer_file(path):
                shutil.copyfile(path, temporary / path.name)
        if (
            not (temporary / "tokenizer_config.json").is_file()
            and not (temporary / "tokenizer.json").is_file()
        ):
            tokenizer.save_pretrained(temporary)
        whole = temporary / "tokenizer.json"
        if not (temporary / "vocab.json").is_file() and whole.is_file():
            model = json.loads(whole.read_text(encoding="utf-8")).get("model", {})
            if model.get("type") == "BPE":
                merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
                (temporary / "vocab.json").write_text(
                    json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8"
                )
                (temporary / "merges.txt").write_text(
                    "\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8"
                )
