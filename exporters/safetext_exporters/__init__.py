"""Exporters: the hardened encoder in every place where the original runs.

    from safetext_exporters import export
    result = export("runs/weapons", "onnx")  # RUN/exports/onnx: model.onnx, config, tokenizer, parity record
    print(result.path, result.parity)

One target a file, which ends in an `Exporter`: its options and the function that writes. A package of yours
adds one through the entry-point group ``safetext.exporters``. What every target writes and promises:
docs/exporting.md.

Seven targets, what ONNX takes (two graphs, trace, parity, safety), shared by two of them, and the names of
language models that ComfyUI and GGUF take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetext_sdk.registry import Registry

if TYPE_CHECKING:
    from safetext_sdk.models import HardenedModel, TextToImageModel
    from safetext_sdk.models.run_folder import RunFolder

    from .base import Exporter, ExportResult

EXPORTERS: Registry[Exporter[Any]] = Registry("exporter", "safetext.exporters")
EXPORTERS.add(
    "comfyui",
    "safetext_exporters.comfyui:EXPORTER",
    "clip_l, clip_g, t5xxl, qwen_3_4b files with ComfyUI's keys; not run in ComfyUI",
)
EXPORTERS.add(
    "diffusers",
    "safetext_exporters.diffusers:EXPORTER",
    "folders that from_pretrained loads; a whole pipeline on request",
)
EXPORTERS.add(
    "gguf",
    "safetext_exporters.gguf:EXPORTER",
    "T5 and Qwen3 as GGUF: f16, bf16, f32, q8_0; not run in ComfyUI or llama.cpp",
)
EXPORTERS.add(
    "onnx",
    "safetext_exporters.onnx:EXPORTER",
    "model.onnx for onnxruntime, optimum and diffusers: fp32, fp16 or int8",
)
EXPORTERS.add(
    "peft",
    "safetext_exporters.peft_adapter:EXPORTER",
    "the LoRA adapter of a run that was hardened with LoRA",
)
EXPORTERS.add(
    "single-file",
    "safetext_exporters.single_file:EXPORTER",
    "the encoder inside a copy of an SD 1.x or SDXL checkpoint",
)
EXPORTERS.add(
    "tensorrt",
    "safetext_exporters.tensorrt:EXPORTER",
    "ONNX with fp16 in the graph, shape profile, commands and a check",
)

__all__ = ["EXPORTERS", "ExportResult", "export", "export_each", "options_of"]


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
    return EXPORTERS.get(target).defaults()


def export(
    source: HardenedModel | RunFolder | TextToImageModel | str | Path,
    target: str,
    *,
    out: str | Path | None = None,
    force: bool = False,
    **options: Any,
) -> ExportResult:
    """Write a hardened encoder for one target.

    Args:
        source: a run folder (path or object), what `safetext_sdk.harden` gave, or any loaded model.
        target: a name in `EXPORTERS`.
        out: folder to write; default ``RUN/exports/<target>``. An earlier export there is replaced once the
            new one is whole.
        force: export a run whose files are not as its manifest says; the export's record names them, and no
            gate passes a report on it.
        **options: the target's own; `options_of` lists them.

    Raises:
        UsageError: unknown target or option, or a folder that is not an earlier export.
        RunError: files of the run are not as its manifest says, and ``force`` was not given.
        MissingExtraError: the target needs an extra; the message has the command that installs it.
        ModelError: the model does not fit the target, or the result is too far from the torch encoder.
    """
    exporter = EXPORTERS.get(target)
    from .base import as_subject, default_out

    subject = as_subject(source, force=force)
    place = Path(out) if out is not None else default_out(subject, target)
    return exporter(subject, place, options, target)


def export_each(
    source: str | Path,
    targets: Sequence[str],
    *,
    out: str | Path | None = None,
    sign: str | Path | None = None,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Iterator[ExportResult]:
    """Several exports of one run, each given out when it is written (and signed).

    Args:
        source: a run folder.
        targets: names in `EXPORTERS`; repeats count once.
        out: folder to write; with several targets each gets a folder of its own in it, so that the second
            does not replace the first.
        sign: private key (PEM) to sign each export with.
        force: as in `export`.
        options: for every target.

    Raises:
        UsageError: a target or an option that is not known, or no such key, before anything is written.
        SafeTextError: as `export`, and as `signing.sign_folder`.
    """
    names = list(dict.fromkeys(targets))
    for name in names:
        EXPORTERS.get(name).checked(options or {}, name)
    if sign is not None:
        from safetext_sdk.signing import check_key

        check_key(sign)
    for name in names:
        place = Path(out) / name if out is not None and len(names) > 1 else out
        result = export(source, name, out=place, force=force, **(options or {}))
        if sign is not None:
            from .signing import sign_folder

            sign_folder(result.path, sign)
        yield result
