"""Encoders that no run of ours made, read from whatever their publisher ships.

An encoder takes the place of the original's: it must have its architecture and its shapes, and it reads what
the original's tokenizer writes. Only safetensors and ONNX are opened; every file that was read is hashed,
because a report speaks for these bytes.

Read are: a diffusers pipeline, folders named after the encoders, one encoder's folder (CLIPTextModel, or a
CLIPModel whose text half is taken), a bare safetensors file (with or without ``text_model.``, transformers',
OpenCLIP's or a whole checkpoint's names), a LoRA (`lora_files`), an exported ONNX file, and the same on the
hub, also in a subfolder (``owner/name/sub``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import ModelError, UsageError
from ..files import sha256_file
from ..hub import NEVER, download, listing
from .bare_weights import read_bare
from .checks import PICKLE_SUFFIXES, read_config, read_header, refuse_pickle
from .layout import encoder_files, tokenizer_name
from .lora_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_lora, merge, read_lora
from .onnx_encoder import encoders_in
from .read_encoder import check_tokenizer, load_encoder, load_tokenizer
from .run_folder import RunFolder
from .source import TEXT_PATTERNS, download_weights

if TYPE_CHECKING:
    from .model import TextToImageModel

DIFFUSERS_LORA = "pytorch_lora_weights.safetensors"
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(/(?P<sub>[\w./-]+?))?/?")
_SPLIT_ALIKE = ("a photo of a cat", "two knives, 3 guns & a blood-red sword!", "déjà vu in the café")
"""Texts that two tokenizers must split alike to count as the same."""
FORMS = "a diffusers folder, a text encoder's folder, a safetensors file, a LoRA, an ONNX file, or a hub id"


@dataclass(frozen=True)
class GivenEncoders:
    """Encoders of others, and the files that they were read from.

    Attributes:
        ref: what the user typed.
        form: what it is, in words.
        encoders: by name, in the type and on the device of the model that they are for.
        files: sha256 of every file that was read.
        revision: the commit of a hub repository; None elsewhere.
        notes: what a reader must know, one line each.
    """

    ref: str
    form: str
    encoders: dict[str, Any]
    files: dict[Path, str]
    revision: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Read:
    form: str
    encoders: dict[str, Any]
    files: list[Path]
    notes: tuple[str, ...] = ()


def read_given(ref: str | Path, original: TextToImageModel) -> GivenEncoders:
    """Read encoders that take the place of ``original``'s.

    Args:
        ref: path, or hub id with an optional subfolder.
        original: the model that they are for; not changed.

    Raises:
        ModelError: nothing there that is read, a pickle, another architecture, or files that changed while
            they were read.
        UsageError: a run folder: it is validated as a run.
        MissingExtraError: an ONNX file without onnxruntime.
    """
    path, revision = _place(ref)
    if path.is_dir() and RunFolder.is_run(path):
        raise UsageError(f"{path} is a run folder: `safetext validate {path}` measures it with its record")
    begun = time.time_ns()
    read = _file(path, original) if path.is_file() else _folder(path, original)
    files = {file: sha256_file(file) for file in dict.fromkeys(read.files)}
    _check(read, original, path)
    # The hashes are taken after the weights: they speak for what was read only if nobody wrote meanwhile.
    if any(file.stat().st_mtime_ns > begun for file in files):
        raise ModelError(f"{path} changed while it was read; try again when it is complete")
    return GivenEncoders(str(ref), read.form, read.encoders, files, revision, read.notes)


def _place(ref: str | Path) -> tuple[Path, str | None]:
    path = Path(ref).expanduser()
    if path.suffix in PICKLE_SUFFIXES:
        raise refuse_pickle(path)
    if path.exists():
        # Links are not followed: a file in a hub's cache loses its ending behind one.
        return path.absolute(), None
    match = _HUB.fullmatch(str(ref))
    if match is None or str(ref).startswith("."):
        raise ModelError(f"there is no {ref}; an encoder is {FORMS}")
    repo, sub = match["repo"], match["sub"]
    if sub is None:
        extra = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, DIFFUSERS_LORA]
        return download_weights(repo, None, [*TEXT_PATTERNS, *extra], "text_encoder*")
    folder, commit = download(repo, None, [sub, f"{sub}/*"])
    place = folder / sub
    if not place.exists() or (place.is_dir() and not any(place.rglob("*.safetensors"))):
        names = [n for n in listing(repo, commit) if n.startswith(f"{sub}/")]
        if pickles := [n for n in names if Path(n).suffix in PICKLE_SUFFIXES]:
            raise refuse_pickle(f"{repo}: {pickles[0]}", "downloaded")
        skipped = ", ".join(NEVER[:4])
        raise ModelError(f"{repo} has no encoder in {sub} ({skipped} and the like are never fetched)")
    return place, commit


def _file(path: Path, original: TextToImageModel) -> _Read:
    if path.suffix == ".onnx":
        return _onnx(path, original)
    if path.suffix in PICKLE_SUFFIXES:
        raise refuse_pickle(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{path.name} is neither .safetensors nor .onnx; an encoder is {FORMS}")
    keys = read_header(path)
    if is_lora(keys):
        config = path.with_name(ADAPTER_CONFIG)
        return _lora(path, config if config.is_file() else None, original)
    encoders = read_bare(path, keys, original)
    if not any(key.startswith("model.diffusion_model.") for key in keys):
        return _Read("safetensors file", dict(encoders), [path])
    note = "only its text encoders were measured: the original's denoiser draws"
    return _Read("whole checkpoint", dict(encoders), [path], (note,))


def _folder(path: Path, original: TextToImageModel) -> _Read:
    names = list(original.encoders)
    if (path / "model.onnx").is_file() or any((path / n / "model.onnx").is_file() for n in names):
        return _onnx(path, original)
    adapters = {n: path / n for n in names if (path / n / ADAPTER_CONFIG).is_file()}
    if (path / ADAPTER_CONFIG).is_file():
        return _lora(_one_weight(path), path / ADAPTER_CONFIG, original)
    if adapters:
        return _adapters(adapters, original)
    whole = {n: path / n for n in names if (path / n / "config.json").is_file()}
    if whole:
        piped = (path / "model_index.json").is_file()
        notes = ["only its text encoders were measured: the original's denoiser draws"] if piped else []
        if lacking := [n for n in names if n not in whole]:
            notes.append(f"{', '.join(lacking)} is not in it: the original's stayed")
        form = "diffusers pipeline" if piped else "text encoder folders"
        return _folders(form, whole, original, notes, tokenizers=path)
    if (path / "config.json").is_file():
        name = _which(path, original)
        return _folders("text encoder folder", {name: path}, original, [], tokenizers=None)
    if (path / DIFFUSERS_LORA).is_file():
        return _file(path / DIFFUSERS_LORA, original)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return _file(files[0], original)
    if pickles := [f for f in sorted(path.iterdir()) if f.suffix in PICKLE_SUFFIXES]:
        raise refuse_pickle(pickles[0])
    many = f"holds {len(files)} safetensors files; name one" if files else "holds no encoder that is read"
    raise ModelError(f"{path} {many}; an encoder is {FORMS}")


def _onnx(path: Path, original: TextToImageModel) -> _Read:
    encoders = encoders_in(path, original.encoders)
    files = []
    for encoder in encoders.values():
        near = (encoder.path, encoder.path.with_name(f"{encoder.path.name}_data"))
        files += [f for f in (*near, encoder.path.with_name("config.json")) if f.is_file()]
    return _Read("ONNX file", dict(encoders), files)


def _folders(
    form: str,
    folders: dict[str, Path],
    original: TextToImageModel,
    notes: Iterable[str],
    *,
    tokenizers: Path | None,
) -> _Read:
    encoders, files, said = {}, [], list(notes)
    for name, folder in folders.items():
        found = encoder_files(folder, name, original.layout.encoders[name].architecture)
        encoders[name] = load_encoder(found, original.device, original.dtype)
        files += [*found.weights, folder / "config.json"]
        own = tokenizers / tokenizer_name(name) if tokenizers is not None else folder
        said += _other_tokenizer(name, own, original)
    return _Read(form, encoders, files, tuple(said))


def _other_tokenizer(name: str, folder: Path, original: TextToImageModel) -> list[str]:
    """A line where a tokenizer lies beside an encoder and splits prompts otherwise than the original's."""
    if not (folder / "tokenizer_config.json").is_file():
        return []
    known = original.tokenizers[name]
    given = load_tokenizer(folder, type(known).__name__)
    if all(known(text).input_ids == given(text).input_ids for text in _SPLIT_ALIKE):
        return []
    return [f"{name} comes with a tokenizer that splits prompts differently; the original's was used"]


def _adapters(folders: dict[str, Path], original: TextToImageModel) -> _Read:
    encoders: dict[str, Any] = {}
    files: list[Path] = []
    for name, folder in folders.items():
        weights = _one_weight(folder)
        lora = read_lora(weights, folder / ADAPTER_CONFIG)
        encoders |= merge(lora, {name: original.encoders[name]}, weights)
        files += [weights, folder / ADAPTER_CONFIG]
    return _Read(
        "LoRA", encoders, files, ("it was merged into the original's encoder before it was measured",)
    )


def _lora(path: Path, config: Path | None, original: TextToImageModel) -> _Read:
    lora = read_lora(path, config)
    notes = ["it was merged into the original's encoder before it was measured"]
    if lora.denoiser:
        notes.append("it changes the denoiser as well, which was not measured")
    files = [path, *([config] if config is not None else [])]
    return _Read("LoRA", dict(merge(lora, original.encoders, path)), files, tuple(notes))


def _one_weight(folder: Path) -> Path:
    path = folder / ADAPTER_WEIGHTS
    if path.is_file():
        return path
    if pickles := [f for f in sorted(folder.iterdir()) if f.suffix in PICKLE_SUFFIXES]:
        raise refuse_pickle(pickles[0])
    raise ModelError(f"{path} is missing")


def _which(folder: Path, original: TextToImageModel) -> str:
    """The encoder of the original that a folder's configuration fits; a folder of its name is taken at its
    word."""
    if folder.name in original.encoders or len(original.encoders) == 1:
        return folder.name if folder.name in original.encoders else next(iter(original.encoders))
    config = read_config(folder)
    config = {**config, **(config.get("text_config") or {})}
    asked = ("hidden_size", "num_hidden_layers", "d_model", "num_layers")
    fits = [
        name
        for name, encoder in original.encoders.items()
        if all(config[k] == getattr(encoder.config, k, None) for k in asked if k in config)
    ]
    if len(fits) != 1:
        raise ModelError(f"{folder}: which of {', '.join(original.encoders)} is it? name its folder so")
    return fits[0]


def _check(read: _Read, original: TextToImageModel, path: Path) -> None:
    """It is one of the original's encoders by shape, and reads what the original's tokenizer writes."""
    for name, encoder in read.encoders.items():
        old = original.encoders[name]
        if isinstance(encoder, nn.Module) and isinstance(old, nn.Module):
            given = {k: tuple(v.shape) for k, v in encoder.state_dict().items()}
            wanted = {k: tuple(v.shape) for k, v in old.state_dict().items()}
            names = wanted.keys() | given.keys()
            if getattr(encoder, "pooler", None) is None or getattr(old, "pooler", None) is None:
                # A BERT is published with its pooler and without; nothing reads it.
                names = {name for name in names if not name.startswith("pooler.")}
            wrong = sorted(k for k in names if wanted.get(k) != given.get(k))
            if wrong:
                raise ModelError(
                    f"{path} does not fit {name} of {original.id}: {wrong[0]} is {given.get(wrong[0])}, not "
                    f"{wanted.get(wrong[0])}"
                )
            check_tokenizer(original.tokenizers[name], encoder, original.layout.tokenizers[name])
        elif encoder.config.hidden_size != old.config.hidden_size:
            size = encoder.config.hidden_size
            raise ModelError(
                f"{path} does not fit {name} of {original.id}: it is {size} wide, not "
                f"{old.config.hidden_size}"
            )
