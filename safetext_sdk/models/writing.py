"""Writing a hardened encoder so that every reader takes it for what it is.

* Keys of CLIP encoders always start with ``text_model.``: transformers >= 5.6 dropped that level, and 4.57
  then loads RANDOM weights with no more
  than a warning. Other architectures get the very keys of the source file.
* Each tensor keeps the type it had in the source; config.json is copied byte for byte; ``metadata =
  {"format": "pt"}``.
* A source in several shards stays in several shards, each with the tensors that it had there, and only one is
  in memory at a time.
* Tokenizers go beside, with vocab.json and merges.txt, which transformers 4.57 needs and transformers 5 no
  longer writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..files import atomic_folder
from .checks import read_header
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
    """Write weights, in as many files as the source has, and ``config.json`` into ``folder`` (whole or not at
    all)."""
    own, keys = encoder.state_dict(), file_keys(encoder, files)
    _write(files, folder, keys, lambda name: own[keys[name]].detach())


def write_merged(
    encoder: nn.Module, files: EncoderFiles, folder: Path, changes: Mapping[str, Callable[[], Tensor]]
) -> None:
    """As `write_encoder`, for an encoder of which only some weights have changed: the others go from file to
    file, and one shard at a time is in memory.

    Args:
        encoder: the original, for the names of its weights; its values are not read.
        files: the source, which is no single-file checkpoint.
        folder: where to.
        changes: by the module's name of a weight, what makes the difference that is added to it in fp32.

    Raises:
        ModelError: a tensor of the source has another shape than the encoder's.
    """
    from safetensors import safe_open

    keys = file_keys(encoder, files)
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    at = {_written_name(key, files): (path, key) for path in files.weights for key in read_header(path)}

    def changed(name: str) -> Tensor:
        path, stored = at[name]
        with safe_open(path, framework="pt") as source:
            tensor: Tensor = source.get_tensor(stored)
        key = keys[name]
        if tensor.shape != shapes[key]:
            raise ModelError(f"{path}: {stored} is {list(tensor.shape)}, not {list(shapes[key])}")
        return tensor.float() + changes[key]().to("cpu", torch.float32) if key in changes else tensor

    _write(files, folder, keys, changed)


def _written_name(stored: str, files: EncoderFiles) -> str:
    return nested_key(stored) if files.architecture.nested_keys else stored


def _shards(files: EncoderFiles, names: Iterable[str]) -> list[list[str]]:
    """``names`` in the groups in which the source's files hold them; what a source does not name is in the
    first."""
    if len(files.weights) < 2:
        return [sorted(names)]
    at = {_written_name(key, files): i for i, path in enumerate(files.weights) for key in read_header(path)}
    groups: list[list[str]] = [[] for _ in files.weights]
    for name in sorted(names):
        groups[at.get(name, 0)].append(name)
    return [group for group in groups if group]


def _shard_names(count: int) -> Iterator[str]:
    if count == 1:
        yield "model.safetensors"
        return
    for i in range(count):
        yield f"model-{i + 1:05d}-of-{count:05d}.safetensors"


def _write(files: EncoderFiles, folder: Path, names: Iterable[str], tensor: Callable[[str], Tensor]) -> None:
    """Write the tensors of ``names``, each as ``tensor`` gives it and in its stored type, shard by shard."""
    from safetensors.torch import save_file

    groups = _shards(files, names)
    weight_map: dict[str, str] = {}
    size = 0
    with atomic_folder(folder) as temporary:
        for shard, group in zip(_shard_names(len(groups)), groups, strict=True):
            state: dict[str, Tensor] = {}
            seen: set[int] = set()
            for name in group:
                made = tensor(name).to("cpu", stored_type(files, name)).contiguous()
                # save_file refuses tied tensors, which share their memory unless a cast gave each its own.
                made = made.clone() if made.data_ptr() in seen else made
                seen.add(made.data_ptr())
                state[name] = made
                size += made.nbytes
            save_file(state, temporary / shard, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(group, shard)
        if len(groups) > 1:
            index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
            text = json.dumps(index, indent=2) + "\n"
            (temporary / "model.safetensors.index.json").write_text(text, encoding="utf-8")
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
