"""Target ``onnx``: ``text_encoder/model.onnx`` (and ``text_encoder_2/...``), its config, tokenizer, parity
record and hashes.

The layout is that of an ONNX Stable Diffusion folder, so that optimum and diffusers' ONNX path find the
encoder where they look for it.
Contract, measured figures and limits: docs/exporters/onnx.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetext_sdk.errors import UsageError
from safetext_sdk.files import write_json_atomic

from .base import ExportResult, Subject, clip_encoders, left_out, self_check, staging, write_record
from .trace import OPSET, check_options, need_onnx, op_counts, quantize, save, trace

MODEL = "model.onnx"


def default_contract(family: str) -> str:
    """``optimum-hidden`` where the denoiser reads a hidden state (SDXL, SD3), else ``optimum``."""
    return "optimum-hidden" if family in ("sdxl", "sd3") else "optimum"


def export_encoder(
    encoder: Any,
    tokenizer: Any,
    folder: Path,
    *,
    family: str,
    contract: str,
    precision: str,
    ids_dtype: str = "int32",
    external_over: int | None = None,
) -> dict[str, Any]:
    """Write one encoder's ``model.onnx``, ``config.json`` and ``parity.json`` into ``folder``; returns the
    parity record.

    Raises:
        ModelError: not CLIP, or the file that came out is too far from the torch encoder.
    """
    from safetext_sdk.models.onnx_encoder import OnnxEncoder

    from . import parity
    from .trace import TWO_GB

    limit = TWO_GB if external_over is None else external_over
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL
    model = trace(encoder, contract, family=family, half=precision == "fp16", ids_dtype=ids_dtype)
    if precision == "int8":
        plain = folder / "plain" / MODEL
        plain.parent.mkdir()
        save(model, plain, limit)
        quantize(plain, path, limit)
        shutil.rmtree(plain.parent)
    else:
        save(model, path, limit)
    encoder.config.to_json_file(str(folder / "config.json"), use_diff=False)
    exported = OnnxEncoder(path)
    inputs, expected = parity.reference(encoder, tokenizer, contract, family)
    record = {
        "schema_version": 1,
        "file": MODEL,
        "precision": precision,
        "contract": contract,
        "opset": OPSET,
        "ids_dtype": ids_dtype,
        "inputs": exported.inputs,
        "outputs_order": list(exported.outputs),
        "ops": op_counts(path),
        **parity.measure(exported.run, inputs, expected),
    }
    parity.require(record, precision)
    write_json_atomic(folder / "parity.json", record)
    return record


def export_onnx(
    subject: Subject,
    out: Path,
    *,
    precision: str = "fp32",
    contract: str | None = None,
    opset: int = OPSET,
    ids_dtype: str = "int32",
    external_over: int | None = None,
    recheck: int = 64,
    target: str = "onnx",
) -> ExportResult:
    """Export every CLIP encoder of ``subject`` to ONNX.

    Args:
        subject: what is exported.
        out: folder to write.
        precision: ``fp32``, ``fp16`` (in the graph) or ``int8`` (dynamic, per channel; measure safety again).
        contract: key of `graph.CONTRACTS`; None chooses what the family's denoiser reads.
        opset: 18; anything else is refused.
        ids_dtype: ``int32`` or ``int64`` for the ids.
        external_over: bytes of weights past which tensors go into ``model.onnx_data``; None = 2 GB.
        recheck: held-out unsafe prompts that are put through the exported file and through torch (see
            `safety.recheck`); 0 = none.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        UsageError: an option that is not supported.
        ModelError: no CLIP encoder, or a result that is too far from the torch encoder.
    """
    need_onnx("the onnx export")
    check_options(precision, opset, ids_dtype)
    family = subject.model.family
    contract = contract or default_contract(family)
    if contract == "trt-demo" and precision == "int8":
        raise UsageError("TensorRT refuses dynamic int8; use precision fp16 or fp32 with contract trt-demo")
    encoders = clip_encoders(subject, target)
    from . import safety
    from .tokenizer import write_tokenizer

    parities: dict[str, Any] = {}
    with staging(out) as folder:
        for name, encoder in encoders.items():
            tokenizer = subject.model.tokenizers[name]
            parities[name] = export_encoder(
                encoder,
                tokenizer,
                folder / name,
                family=family,
                contract=contract,
                precision=precision,
                ids_dtype=ids_dtype,
                external_over=external_over,
            )
            write_tokenizer(subject, name, folder / name.replace("text_encoder", "tokenizer"))
        options = {"precision": precision, "contract": contract, "opset": opset, "ids_dtype": ids_dtype}
        measured = safety.recheck(subject, folder, encoders, recheck)
        measured["self_check"] = self_check(subject, folder, strict=precision != "int8")
        files = write_record(folder, subject, target, options, measured)
    first = next(iter(encoders))
    notes = left_out(subject, encoders) + safety.notes(measured)
    if precision == "int8":
        notes += (
            "int8 changes the encoder: judge pictures with `safetext validate RUN --encoder FILE` before "
            "you ship it",
        )
    return ExportResult(
        target, out / first / MODEL if len(encoders) == 1 else out, out, files, parities, notes
    )
