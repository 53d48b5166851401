"""Exporters: the hardened encoder in every place where the original runs.

    from safetext_exporters import export
    result = export("runs/weapons", "onnx")          # RUN/exports/onnx/text_encoder/model.onnx, config,
    tokenizer, parity record print(result.path, result.parity)

One target a file; each is a function ``(subject, out, **options) -> ExportResult``. A package of yours adds
one through the entry-point group ``safetext.exporters``. What every target writes and promises:
docs/exporting.md.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetext_sdk.errors import UsageError
from safetext_sdk.registry import Registry

if TYPE_CHECKING:
    from safetext_sdk.models import HardenedModel, TextToImageModel
    from safetext_sdk.models.run_folder import RunFolder

    from .base import Exporter, ExportResult

EXPORTERS: Registry[Exporter] = Registry("exporter", "safetext.exporters")
EXPORTERS.add(
    "comfyui",
    "safetext_exporters.comfyui:export_comfyui",
    "clip_l / clip_g files with ComfyUI's keys; not run in ComfyUI",
)
EXPORTERS.add(
    "diffusers",
    "safetext_exporters.diffusers:export_diffusers",
    "folders that from_pretrained loads; a whole pipeline on request",
)
EXPORTERS.add(
    "onnx",
    "safetext_exporters.onnx:export_onnx",
    "model.onnx for onnxruntime, optimum and diffusers: fp32, fp16 or int8",
)
EXPORTERS.add(
    "peft",
    "safetext_exporters.peft_adapter:export_peft",
    "the LoRA adapter of a run that was hardened with LoRA",
)
EXPORTERS.add(
    "single-file",
    "safetext_exporters.single_file:export_single_file",
    "the encoder inside a copy of an SD 1.x or SDXL checkpoint",
)
EXPORTERS.add(
    "tensorrt",
    "safetext_exporters.tensorrt:export_tensorrt",
    "ONNX with fp16 in the graph, shape profile, commands and a check",
)

__all__ = ["EXPORTERS", "ExportResult", "export", "options_of"]


def __getattr__(name: str) -> Any:
    if name == "ExportResult":
        from .base import ExportResult

        return ExportResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def options_of(target: str) -> dict[str, Any]:
    """Names and defaults of the options that ``target`` takes.

    Raises:
        UsageError: unknown target.
    """
    parameters = inspect.signature(EXPORTERS.get(target)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "target"}


def export(
    source: HardenedModel | RunFolder | TextToImageModel | str | Path,
    target: str,
    *,
    out: str | Path | None = None,
    **options: Any,
) -> ExportResult:
    """Write a hardened encoder for one target.

    Args:
        source: a run folder (path or object), what `safetext_sdk.harden` gave, or any loaded model.
        target: a name in `EXPORTERS`.
        out: folder to write; default ``RUN/exports/<target>``. An earlier export there is replaced once the
        new one is whole. **options: the target's own; `options_of` lists them.

    Raises:
        UsageError: unknown target or option, or a folder that is not an earlier export.
        MissingExtraError: the target needs an extra; the message has the command that installs it.
        ModelError: the model does not fit the target, or the result is too far from the torch encoder.
    """
    exporter = EXPORTERS.get(target)
    if unknown := set(options) - set(options_of(target)):
        raise UsageError(
            f"target {target} has no option {', '.join(sorted(unknown))}; it has "
            ""
            f"{', '.join(options_of(target)) or 'none'}"
        )
    from .base import as_subject, default_out

    subject = as_subject(source)
    return exporter(subject, Path(out) if out is not None else default_out(subject, target), **options)
