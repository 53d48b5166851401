"""Target ``single-file``: the hardened encoder(s) inside a copy of an SD 1.x or SDXL checkpoint; every other
byte stays as it is.

The copy has the same header, tensor order and types. Only the bytes of the encoders' weights are overwritten,
each in the type that the checkpoint has for it; the file is then read back and compared.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.models.families import all_families
from safetext_sdk.models.families.ldm_keys import replacements

from .base import Exporter, ExportResult, Options, Subject, self_check, staging, write_record

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class SingleFileOptions(Options):
    """``checkpoint``: the checkpoint (safetensors) to put the encoders into; None = the file that the model
    was loaded from. It is only read."""

    checkpoint: str | Path | None = None


def export_single_file(subject: Subject, out: Path, options: SingleFileOptions) -> ExportResult:
    """Put the hardened encoders into a copy of a checkpoint.

    Args:
        subject: what is exported.
        out: folder to write; the file is named after the checkpoint, with ``-safetext`` added.
        options: see `SingleFileOptions`.

    Raises:
        UsageError: no checkpoint given and none known.
        ModelError: not safetensors, another family, or an architecture that does not fit.
    """
    from safetext_sdk.models.checks import looks_like_pickle, read_header, refuse_pickle

    model, checkpoint = subject.model, options.checkpoint
    if checkpoint is None:
        if not model.source.path.is_file():
            raise UsageError(
                "single-file needs the checkpoint to put the encoder into: checkpoint=PATH (safetensors)"
            )
        checkpoint = model.source.path
    source = Path(checkpoint).expanduser()
    if not source.is_file():
        raise ModelError(f"there is no checkpoint {source}")
    if looks_like_pickle(source):
        raise refuse_pickle(source)
    form = model.reader.single_file
    if form is None:
        titles = " and ".join(family.title for family in all_families() if family.single_file)
        raise ModelError(f"single-file takes {titles}; {model.id} is of family {model.reader.title}")
    keys = list(read_header(source))
    first = next(iter(form.prefixes.values()))
    if not any(key.startswith(first) for key in keys):
        raise ModelError(
            f"{source.name} is not a {model.reader.title} checkpoint: it has no tensors under {first}"
        )
    new: dict[str, Tensor] = {}
    for name, prefix in form.prefixes.items():
        if name in subject.hardened():
            new |= replacements(keys, prefix, name, model.encoders[name].state_dict())
    with staging(out) as folder:
        target = folder / f"{source.stem}-safetext.safetensors"
        shutil.copyfile(source, target)
        overwrite(target, new)
        checked = {"self_check": self_check(subject, target)}
        files = write_record(
            folder, subject, "single-file", {"checkpoint": source.name, "tensors": len(new)}, checked
        )
    notes = (f"{len(new)} of {len(keys)} tensors were replaced; every other byte is the checkpoint's",)
    return ExportResult("single-file", out / target.name, out, files, {}, notes)


def overwrite(path: Path, new: dict[str, Tensor]) -> None:
    """Replace the bytes of some tensors of a safetensors file in place, in the types that it has for them,
    and read them back.

    Raises:
        ModelError: a shape or type that does not fit, or a value that the file's type cannot hold.
    """
    from safetensors import safe_open

    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
        for key, tensor in new.items():
            entry = header[key]
            if list(tensor.shape) != entry["shape"] or entry["dtype"] not in _TYPES:
                raise ModelError(
                    f"{key} is {entry['dtype']} {entry['shape']} in the checkpoint, the encoder's is "
                    f"{list(tensor.shape)}"
                )
            value = tensor.detach().to("cpu", _TYPES[entry["dtype"]]).contiguous()
            if not bool(torch.isfinite(value).all()):
                raise ModelError(
                    f"{key} does not fit into the checkpoint's type {entry['dtype']}: a value became infinite"
                )
            data = (
                value.view(torch.uint8).numpy().tobytes()
                if value.ndim
                else value.reshape(1).view(torch.uint8).numpy().tobytes()
            )
            start, end = entry["data_offsets"]
            if end - start != len(data):
                raise ModelError(
                    f"{key} takes {end - start} bytes in the checkpoint, the encoder's weight takes "
                    f"{len(data)}"
                )
            file.seek(8 + length + start)
            file.write(data)
    with safe_open(path, "pt") as handle:
        for key, tensor in new.items():
            stored = handle.get_tensor(key)
            if not torch.equal(stored, tensor.detach().cpu().to(stored.dtype)):
                raise ModelError(f"{key} does not read back as written")


EXPORTER = Exporter(SingleFileOptions, export_single_file)
