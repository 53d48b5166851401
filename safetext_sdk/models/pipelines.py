"""The diffusers pipeline around a model's encoders. Denoiser and VAE are loaded once for all copies of a
model."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import ModelError
from ..quiet import quiet
from .checks import read_config, variant_of
from .families import Family
from .families.model_folder import INDEX
from .layout import Layout, tokenizer_name
from .read_encoder import first_line
from .source import Source, download_weights

_HUB_PATTERNS = ["*.json", "*.txt", "*/*.json", "*/*.txt", "*/*.safetensors", "*/*.model"]


class PipelineParts(Protocol):
    """What a pipeline is built around: a `TextToImageModel`, as far as this module needs one."""

    @property
    def id(self) -> str: ...
    @property
    def reader(self) -> Family: ...
    @property
    def source(self) -> Source: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def encoders(self) -> Mapping[str, Any]: ...
    @property
    def tokenizers(self) -> Mapping[str, Any]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...


def build_pipeline(model: PipelineParts, parts: dict[str, Any]) -> Any:
    """A pipeline that calls exactly ``model.encoders`` with ``model.tokenizers``. ``parts`` keeps the first
    one built; later ones are shallow copies of it.

    Raises:
        ModelError: the folder lacks the denoiser or another component, or torchvision is not installed and
            the pipeline needs it.
    """
    if "pipeline" not in parts:
        parts["pipeline"] = _load(model)
    # A shallow copy shares every component object; only the encoders differ. The scheduler is shared too:
    # each call resets it.
    pipe = copy.copy(parts["pipeline"])
    for name, encoder in model.encoders.items():
        setattr(pipe, name, encoder)
    for name, tokenizer in model.tokenizers.items():
        setattr(pipe, tokenizer_name(name), tokenizer)
    return pipe


def pictures_of(output: Any) -> Any:
    """The pictures (or latents) in what a pipeline returned; Kandinsky 5 names them otherwise."""
    return output.images if hasattr(output, "images") else output.image


def denoiser_name(pipe: Any) -> str:
    """The name of a pipeline's denoiser among its parts."""
    return "unet" if getattr(pipe, "unet", None) is not None else "transformer"


def whole_folder(model: PipelineParts) -> Path:
    """The folder with every part of the model's pipeline; what is only on the hub yet is downloaded.

    Raises:
        ModelError: a single file or a plain encoder, which have no such folder; see also `source.download`.
    """
    source: Source = model.source
    if source.path.is_file() or not (source.path / "model_index.json").is_file():
        raise ModelError(
            f"{model.id} does not come from a diffusers folder, so there is no complete pipeline to copy"
        )
    return _complete(model)


def _complete(model: PipelineParts) -> Path:
    source: Source = model.source
    if source.revision is None or source.path.is_file():
        return source.path
    return download_weights(model.layout.repo or source.ref, source.revision, _HUB_PATTERNS, "*")[0]


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def need_torchvision(model_id: str, folder: Path) -> None:
    """Say it in one line where a pipeline's processor, which could take pictures beside the prompt, cannot be
    loaded (diffusers would raise an ImportError of many lines).

    Raises:
        ModelError: names the part.
    """
    if not (folder / INDEX).is_file() or installed("torchvision"):
        return
    for part, named in read_config(folder, INDEX).items():
        kind = str(named[-1]) if isinstance(named, list) and named else ""
        # A processor of pictures alone falls back to PIL.
        if kind.endswith("Processor") and not kind.endswith("ImageProcessor"):
            raise ModelError(
                f"pictures of {model_id} need torchvision, which is not installed: its pipeline's {part} is "
                f"a {kind}. Install the torchvision that belongs to your torch; hardening and exports do "
                "without"
            )


def _load(model: PipelineParts) -> Any:
    path = _complete(model)
    need_torchvision(model.id, path)
    given: dict[str, Any] = {name: e for name, e in model.encoders.items() if isinstance(e, nn.Module)}
    given |= {
        tokenizer_name(name): tokenizer
        for name, tokenizer in model.tokenizers.items()
        if not _has_processor(path, tokenizer_name(name))
    }
    extra: dict[str, Any] = dict.fromkeys(
        model.options.get("absent", ())
    )  # parts that the publisher left out: diffusers wants that said
    if model.options.get("safety_checker"):
        extra |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    try:
        with quiet():  # importing the pipelines talks too
            from diffusers import DiffusionPipeline
            from diffusers.utils import logging

            level = logging.get_verbosity()
            logging.set_verbosity_error()
            logging.disable_progress_bar()
            try:
                if path.is_file():
                    return _from_single_file(model, given)
                pipe = DiffusionPipeline.from_pretrained(
                    path,
                    **given,
                    **extra,
                    torch_dtype=model.dtype,
                    use_safetensors=True,
                    local_files_only=True,
                    variant=_variant(path),
                )
            finally:
                logging.set_verbosity(level)
                logging.enable_progress_bar()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"the pipeline of {model.id} cannot be loaded from {path}: {first_line(error)}"
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(model.device)


def _has_processor(folder: Path, part: str) -> bool:
    """Whether a pipeline wants a processor where others have a tokenizer (it would also take pictures), or
    has no part of that name: then it loads its own."""
    if not (folder / INDEX).is_file():
        return False
    index = read_config(folder, INDEX)
    named = index.get(part)
    return part not in index or (isinstance(named, list) and "Processor" in str(named[-1]))


def _variant(folder: Path) -> str | None:
    """The half-precision copy that diffusers must be told to read, of a denoiser or VAE that is published in
    no other form."""
    name = "diffusion_pytorch_model"
    for weights in sorted(folder.glob(f"*/{name}.*.safetensors")):
        whole = (weights.parent / f"{name}.safetensors", weights.parent / f"{name}.safetensors.index.json")
        if (kind := variant_of([weights])) and not any(file.is_file() for file in whole):
            return kind
    return None


def _from_single_file(model: PipelineParts, given: dict[str, Any]) -> Any:
    import diffusers

    form, config = model.reader.single_file, model.options.get("pipeline_config")
    if form is None:
        raise ModelError(f"{model.id} is of a family whose single-file checkpoints are not read")
    if config is None:
        raise ModelError(
            f"{model.source.path} holds no configuration, and the folder given beside it has no "
            "model_index.json: pictures need a complete diffusers folder of this family (model_index.json, "
            "unet/config.json, vae/config.json, scheduler/)"
        )
    pipe = getattr(diffusers, form.pipeline).from_single_file(
        str(model.source.path),
        torch_dtype=model.dtype,
        config=config,
        local_files_only=True,
        **given,
        **form.arguments,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(torch.device(model.device))
