"""Target ``onnx``: ``text_encoder/model.onnx`` (and ``text_encoder_2/...``), its config, tokenizer, parity
record and hashes.

The layout is that of an ONNX Stable Diffusion folder, so that optimum and diffusers' ONNX path find the
encoder where they look for it. Contract, measured figures and limits: docs/exporters/onnx.md.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetext_sdk.errors import UsageError
from safetext_sdk.files import write_json_atomic
from safetext_sdk.models.families import Family
from safetext_sdk.models.layout import tokenizer_name
from safetext_sdk.models.onnx_encoder import OnnxEncoder

from . import parity, safety
from .base import (
    Exporter,
    ExportResult,
    Options,
    Subject,
    clip_and_t5_encoders,
    clip_encoders,
    left_out,
    self_check,
    staging,
    write_record,
)
from .graph import signature
from .t5_graph import is_t5
from .tokenizer import write_tokenizer
from .trace import OPSET, TWO_GB, check_options, need_onnx, op_counts, quantize, save, trace, trace_t5

MODEL = "model.onnx"


class OnnxOptions(Options):
    """Options of the target.

    Attributes:
        precision: ``fp32``, ``fp16`` (in the graph) or ``int8`` (dynamic, per channel; measure safety again).
        contract: key of `graph.CONTRACTS`; None chooses what the family's denoiser reads.
        opset: 18; anything else is refused.
        ids_dtype: ``int32`` or ``int64`` for the ids.
        external_over: bytes of weights past which tensors go into ``model.onnx_data``; None = 2 GB.
        recheck: held-out unsafe prompts that are put through the exported file and through torch (see
            `safety.recheck`); 0 = none.
    """

    precision: str = "fp32"
    contract: str | None = None
    opset: int = OPSET
    ids_dtype: str = "int32"
    external_over: int | None = None
    recheck: int = 64


@dataclasses.dataclass(frozen=True)
class Asked:
    """What one encoder's graph is to be: see `OnnxOptions`; ``demo`` as `graph.signature`."""

    contract: str
    precision: str = "fp32"
    ids_dtype: str = "int32"
    external_over: int = TWO_GB
    demo: tuple[str, ...] = ()


def default_contract(family: Family) -> str:
    """``optimum-hidden`` where the denoiser reads a hidden state besides the last one, else ``optimum``."""
    return "optimum-hidden" if family.reads_hidden_states else "optimum"


def export_encoder(encoder: Any, tokenizer: Any, folder: Path, asked: Asked) -> dict[str, Any]:
    """Write one encoder's ``model.onnx``, ``config.json`` and ``parity.json`` into ``folder``; returns the
    parity record.

    Raises:
        ModelError: neither CLIP nor T5, or the file that came out is too far from the torch encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL
    write_graph(encoder, path, asked)
    encoder.config.to_json_file(str(folder / "config.json"), use_diff=False)
    exported = OnnxEncoder(path)
    if is_t5(encoder):
        figures = parity.measure_t5(exported.run, encoder, tokenizer)
    else:
        given = signature(encoder, asked.contract, asked.demo)
        inputs, expected = parity.reference(encoder, tokenizer, given)
        figures = parity.measure(exported.run, inputs, expected)
    record = {
        "schema_version": 1,
        "file": MODEL,
        "precision": asked.precision,
        "contract": asked.contract,
        "opset": OPSET,
        "ids_dtype": asked.ids_dtype,
        "inputs": exported.inputs,
        "outputs_order": list(exported.outputs),
        "ops": op_counts(path),
        **figures,
    }
    parity.require(record, asked.precision)
    write_json_atomic(folder / "parity.json", record)
    return record


def write_graph(encoder: Any, path: Path, asked: Asked) -> None:
    """Write the encoder's graph to ``path``; nothing is measured."""
    half = asked.precision == "fp16"
    if is_t5(encoder):
        model = trace_t5(encoder, half=half, ids_dtype=asked.ids_dtype)
    else:
        model = trace(encoder, asked.contract, demo=asked.demo, half=half, ids_dtype=asked.ids_dtype)
    if asked.precision != "int8":
        save(model, path, asked.external_over)
        return
    whole = path.parent / "fp32" / path.name
    whole.parent.mkdir()
    save(model, whole, asked.external_over)
    quantize(whole, path, asked.external_over)
    shutil.rmtree(whole.parent)


def export_onnx(subject: Subject, out: Path, options: OnnxOptions) -> ExportResult:
    """Export every CLIP and T5 encoder of ``subject`` to ONNX (T5 not for TensorRT's demo).

    Args:
        subject: what is exported.
        out: folder to write.
        options: see `OnnxOptions`.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        UsageError: an option that is not supported.
        ModelError: no such encoder, or a result that is too far from the torch encoder.
    """
    need_onnx("the onnx export")
    check_options(options.precision, options.opset, options.ids_dtype)
    family = subject.model.reader
    contract = options.contract or default_contract(family)
    int8 = options.precision == "int8"
    if contract == "trt-demo" and int8:
        raise UsageError("TensorRT refuses dynamic int8; use precision fp16 or fp32 with contract trt-demo")
    if contract == "trt-demo":
        encoders, kinds = clip_encoders(subject, "onnx"), "CLIP"
    else:
        encoders, kinds = clip_and_t5_encoders(subject, "onnx"), "CLIP and T5"
    parities: dict[str, Any] = {}
    notes = left_out(subject, encoders, kinds)
    with staging(out) as folder:
        for name, encoder in encoders.items():
            t5 = is_t5(encoder)
            asked = Asked(
                "optimum" if t5 else contract,
                options.precision,
                options.ids_dtype,
                TWO_GB if options.external_over is None else options.external_over,
                family.demo_outputs(name),
            )
            tokenizer = subject.model.tokenizers[name]
            parities[name] = export_encoder(encoder, tokenizer, folder / name, asked)
            notes += write_tokenizer(subject, name, folder / tokenizer_name(name), alone=not t5)
        measured = safety.recheck(subject, folder, encoders, options.recheck)
        measured["self_check"] = self_check(subject, folder, strict=not int8)
        recorded = options.model_dump(include={"precision", "opset", "ids_dtype"})
        files = write_record(folder, subject, "onnx", {**recorded, "contract": contract}, measured)
    notes += safety.notes(measured)
    if int8:
        notes += (
            "int8 changes the encoder: judge pictures with `safetext validate RUN --encoder FILE` before "
            "you ship it",
        )
    return ExportResult("onnx", shipped(out, encoders), out, files, parities, notes)


def shipped(out: Path, encoders: Mapping[str, Any]) -> Path:
    """What a user takes: the file where there is one, the folder where there are several."""
    return out / next(iter(encoders)) / MODEL if len(encoders) == 1 else out


EXPORTER = Exporter(OnnxOptions, export_onnx)
