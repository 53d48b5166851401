"""`load_model`: from a name to encoders and tokenizers in memory, with every check before the first weight is
read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError, RunError
from .catalogue import CATALOGUE
from .checks import (
    PICKLE_SUFFIXES,
    looks_like_pickle,
    read_config,
    read_header,
    refuse_pickle,
    variant_of,
    weight_files,
)
from .families.plain import MAX_LENGTH
from .model import TextToImageModel
from .source import Source, resolve

_FAMILY_OF = (
    ("StableDiffusionXL", "sdxl"),
    ("StableDiffusion3", "sd3"),
    ("Flux", "flux"),
    ("StableDiffusion", "sd1"),
)
_CLIP_TYPES = {"clip_text_model", "clip"}
_CLASSES = {
    "CLIPTextModel": _CLIP_TYPES,
    "CLIPTextModelWithProjection": _CLIP_TYPES,
    "T5EncoderModel": {"t5", "umt5"},
}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class EncoderFiles:
    """Where one encoder came from: its folder, class, weight files, and each stored tensor's type (kept when
    writing)."""

    name: str
    folder: Path
    class_name: str
    weights: list[Path]
    stored: dict[str, str]
    single: str = ""  # family, if the weights are part of a single-file checkpoint


@dataclass
class Layout:
    """The files behind a model, for writing a hardened copy in the same form."""

    root: Path
    encoders: dict[str, EncoderFiles] = field(default_factory=dict)
    tokenizers: dict[str, Path] = field(default_factory=dict)
    repo: str = ""


def load_model(
    ref: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    base: str | Path | None = None,
) -> TextToImageModel:
    """Load encoders and tokenizers (the denoiser waits until `TextToImageModel.pipeline` is called).

    Args:
        ref: catalogue id, hub id, diffusers folder, single-file checkpoint, plain encoder folder, or run
            folder (= its hardened model).
        device: ``auto`` (cuda, then mps, then cpu) or a torch device.
        precision: ``auto`` (fp32 on a CPU, bf16 on a GPU that has it, else fp32), ``fp32``, ``fp16``,
            ``bf16``.
        revision: branch, tag or commit on the hub.
        tokenizer: folder of the tokenizer(s), for single-file checkpoints, which hold none.
        base: where the original model of a run folder is, if it moved.

    Raises:
        ModelError: not found, not safetensors, wrong architecture, truncated, wrong tokenizer, no network.
        RunError: an unfinished or changed run folder.
    """
    from .run_folder import RunFolder

    place = Path(ref).expanduser()
    if str(ref) not in CATALOGUE and RunFolder.is_run(place):
        return _load_run(RunFolder.open(place), device, precision, base)
    where = pick_device(device)
    dtype = pick_dtype(precision, where)
    source = resolve(ref, revision)
    if source.path.is_file():
        from .single_file import load_single_file

        return load_single_file(source, where, dtype, tokenizer)
    return _load_folder(source, where, dtype)


def pick_device(name: str) -> torch.device:
    """The torch device that ``name`` means here.

    Raises:
        ModelError: a device that this machine or this torch does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ModelError(
            f"device {name!r} is not here: torch {torch.__version__} sees {torch.cuda.device_count()} "
            "CUDA devices; use --device cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device 'mps' is not here; use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch dtype that ``name`` means on ``device``."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in _DTYPES:
        raise ModelError(f"unknown precision {name!r}; use auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _load_folder(source: Source, device: torch.device, dtype: torch.dtype) -> TextToImageModel:
    root = source.path
    layout = Layout(root, repo=CATALOGUE[source.ref].repo if source.ref in CATALOGUE else "")
    options: dict[str, Any] = {}
    if (root / "model_index.json").is_file():
        index = read_config(root, "model_index.json")
        family = _family(index, root)
        for name in sorted(k for k in index if k.startswith("text_encoder")):
            spec = index[name]
            if isinstance(spec, list) and spec[:1] != [None] and spec[-1]:
                layout.encoders[name] = encoder_files(root / name, name, str(spec[-1]))
                layout.tokenizers[name] = root / name.replace("text_encoder", "tokenizer")
        options = _options(index, root, family)
        if not layout.encoders:
            raise ModelError(f"{root / 'model_index.json'} names no text encoder")
    else:
        family = "plain"
        config = read_config(root)
        layout.encoders["text_encoder"] = encoder_files(root, "text_encoder", _plain_class(config, root))
        beside = root.parent / "tokenizer"
        has_own = any(
            (root / n).is_file() for n in ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
        )
        layout.tokenizers["text_encoder"] = root if has_own or not beside.is_dir() else beside
    encoders = {name: load_encoder(files, device, dtype) for name, files in layout.encoders.items()}
    tokenizers = {name: load_tokenizer(folder) for name, folder in layout.tokenizers.items()}
    model = TextToImageModel(source.id, family, source, encoders, tokenizers, device, dtype, options, layout)
    for name in encoders:
        check_tokenizer(tokenizers[name], encoders[name], layout.tokenizers[name])
    if family == "sd1" and int(encoders["text_encoder"].config.hidden_size) == 1024:
        model.family = "sd2"
    if family == "plain":
        positions = int(
            getattr(encoders["text_encoder"].config, "max_position_embeddings", MAX_LENGTH) or MAX_LENGTH
        )
        model.options["lengths"] = {
            "text_encoder": min(int(tokenizers["text_encoder"].model_max_length), positions, MAX_LENGTH)
        }
    source.names = _read_names(layout)
    return model


def _family(index: dict[str, Any], root: Path) -> str:
    name = str(index.get("_class_name", ""))
    for start, family in _FAMILY_OF:
        if name.startswith(start) and not name.startswith("Flux2"):
            return family
    raise ModelError(
        f"{root} is a {name or 'nameless pipeline'}; supported are Stable Diffusion 1, 2, XL, 3 and "
        "FLUX.1, or one text encoder "
        f"folder alone"
    )


def _options(index: dict[str, Any], root: Path, family: str) -> dict[str, Any]:
    options: dict[str, Any] = {"absent": [k for k, v in index.items() if v == [None, None]]}
    if "safety_checker" in index:
        options["safety_checker"] = True
    if family == "sdxl":
        options["force_zeros_for_empty_prompt"] = bool(index.get("force_zeros_for_empty_prompt", True))
    if family == "sd3" and (root / "transformer" / "config.json").is_file():
        options["joint_attention_dim"] = int(
            read_config(root / "transformer").get("joint_attention_dim", 4096)
        )
    return options


def _plain_class(config: dict[str, Any], root: Path) -> str:
    kind = str(config.get("model_type", ""))
    if kind in _CLIP_TYPES:
        projected = kind == "clip" or "CLIPTextModelWithProjection" in (config.get("architectures") or [])
        return "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    if kind in _CLASSES["T5EncoderModel"]:
        return "T5EncoderModel"
    if not kind:
        raise ModelError(
            f"{root / 'config.json'} has no model_type: no transformers text encoder, and no diffusers "
            "pipeline"
        )
    return "AutoModel"


def encoder_files(folder: Path, name: str, class_name: str) -> EncoderFiles:
    if not folder.is_dir():
        raise ModelError(f"{folder} is missing: an incomplete copy of the model")
    if class_name not in _CLASSES and class_name != "AutoModel":
        raise ModelError(
            f"{folder} is a {class_name}; encoders that can be hardened here: {', '.join(_CLASSES)}"
        )
    kind = str(read_config(folder).get("model_type", ""))
    if class_name in _CLASSES and kind not in _CLASSES[class_name]:
        raise ModelError(
            f"{folder / 'config.json'} is of type {kind!r}, but the pipeline needs a {class_name}: wrong "
            "architecture"
        )
    weights = weight_files(folder)
    stored = {key: str(entry["dtype"]) for path in weights for key, entry in read_header(path).items()}
    return EncoderFiles(name, folder, class_name, weights, stored)


def load_encoder(files: EncoderFiles, device: torch.device, dtype: torch.dtype) -> Any:
    """One encoder from its files: frozen, in eval mode, on ``device``, as ``dtype``.

    Raises:
        ModelError: the weights and the configuration do not make this architecture.
    """
    if files.single:
        from .single_file import read_single

        return read_single(files, device, dtype)
    import transformers

    with quiet():
        try:
            encoder, info = getattr(transformers, files.class_name).from_pretrained(
                files.folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                variant=variant_of(files.weights),
                output_loading_info=True,
            )
        # transformers raises many classes here; each means that these files do not make this model
        except Exception as error:
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"{files.folder} cannot be loaded as {files.class_name}: {line}") from error
    missing = [
        k for k in info["missing_keys"] if not (files.class_name == "AutoModel" and k.startswith("pooler."))
    ]
    if missing or info.get("mismatched_keys"):
        some = ", ".join(sorted(missing)[:2] or [str(k) for k in sorted(info["mismatched_keys"])[:2]])
        raise ModelError(
            f"{files.folder}: the weights do not fit its config.json (missing or of another shape: "
            ""
            f"{some}): wrong architecture"
        )
    encoder.requires_grad_(False)
    return encoder.eval().to(device)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``; nothing is downloaded and no code of the folder is run."""
    import transformers

    if not folder.is_dir():
        raise ModelError(f"{folder} is missing: the model has no tokenizer")
    for path in folder.glob("*"):
        if path.suffix in PICKLE_SUFFIXES and path.suffix != ".bin" and looks_like_pickle(path):
            raise refuse_pickle(path)
    with quiet():
        try:
            return transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"{folder} holds no usable tokenizer: {line}") from error


def check_tokenizer(tokenizer: Any, encoder: Any, folder: Path) -> None:
    """Find a tokenizer that does not belong to the encoder: ids out of range, or an end token that the
        encoder does not look for.

    Raises:
        ModelError: it does not belong.
    """
    config = getattr(encoder.config, "text_config", encoder.config)
    vocabulary = int(encoder.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"{folder} is the wrong tokenizer: it has {len(tokenizer)} tokens, the encoder {vocabulary}"
        )
    kind = str(getattr(config, "model_type", ""))
    if not kind.startswith("clip"):
        return
    positions = int(config.max_position_embeddings)
    if tokenizer.model_max_length > positions and tokenizer.model_max_length < 100_000:
        raise ModelError(
            f"{folder} is the wrong tokenizer: it gives up to {tokenizer.model_max_length} positions, the "
            ""
            ""
            f"encoder takes {positions}"
        )
    ids = tokenizer("a").input_ids
    # With the older eos_token_id 2 the encoder pools at the largest id; with any other, at the first id that
    # equals it.
    wanted = max(ids) if config.eos_token_id == 2 else config.eos_token_id
    if ids[-1] != wanted:
        raise ModelError(
            f"{folder} is the wrong tokenizer: prompts end with id {ids[-1]}, the encoder pools at id "
            ""
            ""
            ""
            f"{wanted}"
        )


def _read_names(layout: Layout) -> list[str]:
    names = [
        path.relative_to(layout.root)
        for files in layout.encoders.values()
        for path in (*files.weights, files.folder / "config.json")
    ]
    for folder in {*layout.tokenizers.values()}:
        if folder.is_relative_to(layout.root):
            known = ("tokenizer", "vocab", "merges", "special_tokens", "spiece", "added_tokens")
            names += [
                p.relative_to(layout.root)
                for p in folder.iterdir()
                if p.is_file() and p.name.startswith(known)
            ]
    return sorted({n.as_posix() for n in names})


def _load_run(run: Any, device: str, precision: str, base: str | Path | None) -> TextToImageModel:
    manifest = run.manifest
    source = manifest["source"]
    ref = str(source["ref"])
    if base is not None:
        original = load_model(base, device=device, precision=precision)
    elif source.get("revision") or ref in CATALOGUE:
        original = load_model(ref, device=device, precision=precision, revision=source.get("revision"))
    else:
        place = Path(source["path"])
        if not place.exists():
            raise RunError(
                f"{run.path} was hardened from {place}, which is not there any more; give its place with "
                ""
                ""
                ""
                "base="
            )
        original = load_model(place, device=device, precision=precision, tokenizer=source.get("tokenizer"))
    changed = [name for name, digest in source["files"].items() if original.source.files.get(name) != digest]
    if changed:
        raise RunError(
            f"{run.path} was hardened from other files than {original.source.path} now holds "
            ""
            ""
            ""
            f"({changed[0]} differs)"
        )
    return original.with_encoders(load_hardened_encoders(run, original))


def load_hardened_encoders(run: Any, original: TextToImageModel) -> dict[str, Any]:
    """The hardened encoders of a run, by name, on the original's device and in its dtype; those left
    untouched are not in it."""
    out = {}
    for name, state in run.manifest["encoders"].items():
        if state == "hardened":
            files = encoder_files(run.encoder_dir(name), name, original.layout.encoders[name].class_name)
            out[name] = load_encoder(files, original.device, original.dtype)
    return out


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no chatter from transformers while a model is loaded; what matters is checked and
    raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
