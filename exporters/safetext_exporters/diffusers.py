"""Target ``diffusers``: ``text_encoder/`` and ``tokenizer/`` as ``from_pretrained`` reads them;
``whole=True``: the pipeline around them.

Keys, types and config.json are the source's (see safetext_sdk/models/writing.py), so the folder also loads
under transformers 4.57, which reads random weights, with no more than a warning, from what transformers 5
writes by itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from safetext_sdk.errors import ModelError
from safetext_sdk.models.checks import PICKLE_SUFFIXES, read_config
from safetext_sdk.models.families.model_folder import INDEX

from .base import Exporter, ExportResult, Options, Subject, self_check, staging, write_record

_OF_ENCODERS = ("text_encoder", "tokenizer")
_WEIGHTS = (".safetensors", ".gguf", ".onnx", ".onnx_data")


class DiffusersOptions(Options):
    """``whole``: copy the rest of the source pipeline too (denoiser, VAE, scheduler), so that the folder is a
    complete model."""

    whole: bool = False


def export_diffusers(subject: Subject, out: Path, options: DiffusersOptions) -> ExportResult:
    """Write encoders and tokenizers, each in a folder named as in the pipeline.

    Args:
        subject: what is exported.
        out: folder to write.
        options: see `DiffusersOptions`.

    Raises:
        ModelError: an encoder is not a torch module, ``whole`` without a pipeline folder, or a file that does
            not read back as written.
    """
    from safetext_sdk.models.layout import tokenizer_name
    from safetext_sdk.models.pipelines import whole_folder
    from safetext_sdk.models.writing import write_encoder

    from .tokenizer import write_tokenizer

    model = subject.model
    rest = whole_folder(model) if options.whole else None
    with staging(out) as folder:
        if rest is not None:
            _copy_rest(rest, folder)
        for name, encoder in model.encoders.items():
            if not isinstance(encoder, torch.nn.Module):
                raise ModelError(
                    f"{name} is an exported file, not a torch module; export from the run it came from"
                )
            write_encoder(encoder, model.layout.encoders[name], folder / name)
            check_written(encoder, folder / name)
            tokenizer = folder / tokenizer_name(name)
            write_tokenizer(subject, name, tokenizer)
        files = write_record(
            folder, subject, "diffusers", options.model_dump(), {"self_check": self_check(subject, folder)}
        )
    return ExportResult("diffusers", out, out, files)


def check_written(encoder: Any, folder: Path) -> None:
    """Read ``folder`` back with transformers and compare every weight with ``encoder``'s.

    Raises:
        ModelError: a weight is missing or differs by more than the file's type rounds it.
    """
    from safetext_sdk.quiet import quiet

    with quiet():
        again, info = type(encoder).from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, use_safetensors=True, local_files_only=True
        )
    have, own = again.state_dict(), encoder.state_dict()
    # What the encoder has not (a BERT that was published without its pooler), transformers makes up again.
    if lost := sorted(key for key in info["missing_keys"] if key in own):
        raise ModelError(f"{folder} does not read back: {lost[0]} is missing")
    for key, value in own.items():
        if not torch.allclose(have[key].float(), value.float().cpu(), rtol=1e-2, atol=1e-6):
            raise ModelError(f"{folder} does not read back: {key} differs from the encoder in memory")


def _copy_rest(source: Path, folder: Path) -> None:
    """Copy what the pipeline's index names, and the small files beside it.

    Pickles are left behind, because nothing in an export may run code when it is loaded; so are checkpoints
    that lie in the root of many published folders, because they hold the original's encoders.
    """
    parts = [name for name in read_config(source, INDEX) if not name.startswith((*_OF_ENCODERS, "_"))]
    files = [path for path in source.iterdir() if path.is_file() and path.suffix not in _WEIGHTS]
    # A part may be a link to a folder elsewhere.
    walked = (found for part in parts for found in os.walk(source / part, followlinks=True))
    files += [Path(where) / name for where, _, names in walked for name in names]
    for path in files:
        if path.is_file() and path.suffix not in PICKLE_SUFFIXES and not path.name.startswith("."):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


EXPORTER = Exporter(DiffusersOptions, export_diffusers)
