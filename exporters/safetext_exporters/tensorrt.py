"""Target ``tensorrt``: ONNX with float16 in the graph, a shape profile, the exact commands, and a check that
does not need a GPU.

* TensorRT 11 has no weak typing: precision is what the graph says, so weights and activations are float16 in
  the file; only softmax's sum is float32. Dynamic int8 is refused by TensorRT's parser and is not offered
  here.
* ``check=True`` looks at what makes an engine build fail: validity, contract, operators, constants, parity at
  batch 1, 2 and 8, and, where the extra ``trt-check`` is installed, an ahead-of-time build by tensorrt-rtx.
  That build proves that this graph parses and compiles for that library on this machine; it is neither a run
  on a GPU nor a build by the TensorRT of a data centre.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.files import write_json_atomic
from safetext_sdk.models.layout import tokenizer_name

from . import safety
from .base import (
    Exporter,
    ExportResult,
    Options,
    Subject,
    clip_encoders,
    left_out,
    self_check,
    staging,
    write_record,
)
from .graph import LENGTH, Signature, signature
from .onnx import MODEL, Asked, export_encoder, shipped
from .tokenizer import write_tokenizer
from .trace import FORBIDDEN, OPSET, check_options, need_onnx

ALLOWED = frozenset(
    {
        "Add",
        "Cast",
        "Equal",
        "Erf",
        "Gather",
        "LayerNormalization",
        "MatMul",
        "Min",
        "Mul",
        "ReduceMax",
        "Reshape",
        "Sigmoid",
        "Softmax",
    }
    | {"Squeeze", "Sub", "Transpose", "Unsqueeze", "Div"}
)
"""Operators that tensorrt-rtx 1.7 was seen to build in this graph; anything else makes the check fail until
it was tried."""


def profile(inputs: tuple[str, ...], batches: tuple[int, int, int]) -> dict[str, dict[str, list[int]]]:
    """Shapes by input name: least, most often, largest."""
    return {
        name: {key: [size, LENGTH] for key, size in zip(("min", "opt", "max"), batches, strict=True)}
        for name in inputs
    }


def commands(inputs: tuple[str, ...], batches: tuple[int, int, int]) -> str:
    """The commands that build an engine from the file, exact but for the folder they are run in. Not run by
    this library."""

    def shapes(size: int) -> str:
        return ",".join(f"{name}:{size}x{LENGTH}" for name in inputs)

    low, usual, high = (shapes(size) for size in batches)
    return f"""# Run in this folder, on the machine with the GPU. safetext runs none of it.

# TensorRT 10 (drop --stronglyTyped from TensorRT 11 on, where every network is strongly typed):
trtexec --onnx={MODEL} --saveEngine=model.engine --stronglyTyped \\
  --minShapes={low} --optShapes={usual} --maxShapes={high}

# TensorRT for RTX, ahead of time, with its own tool:
tensorrt_rtx --onnx={MODEL} --saveEngine=model.engine \\
  --minShapes={low} --optShapes={usual} --maxShapes={high}

# onnxruntime's TensorRT execution provider (package onnxruntime-gpu), which builds the engine at the first
# run:
python - <<'PY'
import onnxruntime as ort
options = {{
    "trt_profile_min_shapes": "{low}",
    "trt_profile_opt_shapes": "{usual}",
    "trt_profile_max_shapes": "{high}",
    "trt_engine_cache_enable": True,
    "trt_engine_cache_path": "engine_cache",
}}
providers = [("TensorrtExecutionProvider", options), "CUDAExecutionProvider"]
session = ort.InferenceSession("{MODEL}", providers=providers)
print(session.get_providers())
PY
"""


class TensorRTOptions(Options):
    """Options of the target.

    Attributes:
        contract: key of `graph.CONTRACTS`.
        precision: ``fp16`` (in the graph) or ``fp32``.
        ids_dtype: ``int32`` or ``int64``.
        min_batch, opt_batch, max_batch: the shape profile; guidance makes a batch of 2 from one prompt.
        check: run `check_model` on what was written; a failed check keeps nothing.
        recheck: as in the onnx target.
    """

    contract: str = "trt-demo"
    precision: str = "fp16"
    ids_dtype: str = "int32"
    min_batch: int = 1
    opt_batch: int = 2
    max_batch: int = 8
    check: bool = False
    recheck: int = 64

    @property
    def batches(self) -> tuple[int, int, int]:
        """Least, usual and largest batch."""
        return self.min_batch, self.opt_batch, self.max_batch


def export_tensorrt(subject: Subject, out: Path, options: TensorRTOptions) -> ExportResult:
    """Export every CLIP encoder for TensorRT.

    Args:
        subject: what is exported.
        out: folder to write; each encoder's folder holds ``model.onnx``, ``profile.json``, ``build.txt`` and,
            checked, ``check.json``.
        options: see `TensorRTOptions`.

    Raises:
        MissingExtraError: onnx is not installed.
        UsageError: int8, or batch sizes out of order.
        ModelError: no CLIP encoder, parity missed, or a failed check.
    """
    need_onnx("the tensorrt export")
    if options.precision == "int8":
        raise UsageError("TensorRT refuses dynamic int8; use precision fp16 or fp32")
    check_options(options.precision, OPSET, options.ids_dtype)
    if not 1 <= options.min_batch <= options.opt_batch <= options.max_batch:
        raise UsageError(f"batch sizes must be in order and at least 1, not {options.batches}")
    encoders = clip_encoders(subject, "tensorrt")
    parities: dict[str, Any] = {}
    notes = left_out(subject, encoders)
    with staging(out) as folder:
        for name, encoder in encoders.items():
            demo = subject.model.reader.demo_outputs(name)
            asked = Asked(options.contract, options.precision, options.ids_dtype, demo=demo)
            tokenizer = subject.model.tokenizers[name]
            parities[name] = export_encoder(encoder, tokenizer, folder / name, asked)
            given = signature(encoder, options.contract, demo)
            notes += _write_build(folder / name, name, given, parities[name], options)
            notes += write_tokenizer(subject, name, folder / tokenizer_name(name), alone=True)
        recorded = options.model_dump(include={"precision", "contract", "ids_dtype"})
        measured = safety.recheck(subject, folder, encoders, options.recheck)
        measured["self_check"] = self_check(subject, folder)
        recorded["batches"] = list(options.batches)
        files = write_record(folder, subject, "tensorrt", recorded, measured)
        notes += safety.notes(measured)
    return ExportResult("tensorrt", shipped(out, encoders), out, files, parities, notes)


def _write_build(
    folder: Path, name: str, given: Signature, parity: dict[str, Any], options: TensorRTOptions
) -> tuple[str, ...]:
    """Profile and commands beside the graph, and the check if it was asked for; notes on the latter."""
    write_json_atomic(folder / "profile.json", profile(given.inputs, options.batches))
    (folder / "build.txt").write_text(commands(given.inputs, options.batches), encoding="utf-8")
    if not options.check:
        return ()
    report = check_model(folder / MODEL, given.inputs, given.outputs, parity, options.batches)
    write_json_atomic(folder / "check.json", report)
    rows = report["checks"]
    if bad := [row for row in rows if row["result"] == "failed"]:
        first = bad[0]
        raise ModelError(
            f"{name} failed the TensorRT check: {first['name']}: {first['detail']}; nothing was kept"
        )
    return tuple(f"{name}: {row['name']}: {row['detail']}" for row in rows if row["name"] == "tensorrt-rtx")


def check_model(
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    parity: dict[str, Any],
    batches: tuple[int, int, int] = (1, 2, 8),
) -> dict[str, Any]:
    """Everything that can be checked without a GPU, as ``{"checks": [{"name", "result", "detail"}]}``;
    result: passed, failed, not run.

    Args:
        path: the ONNX file.
        inputs, outputs: names in the contract's order.
        parity: the file's parity record.
        batches: shape profile for the build.
    """
    import onnx

    rows: list[dict[str, str]] = []

    def add(name: str, problem: str, passed: str) -> None:
        rows.append({"name": name, "result": "failed" if problem else "passed", "detail": problem or passed})

    try:
        onnx.checker.check_model(str(path), full_check=True)
        problem = ""
    except Exception as error:  # the checker raises several classes of its own
        problem = str(error).splitlines()[0]
    add("onnx checker", problem, f"onnx {onnx.__version__}, full check")
    model = onnx.load(str(path))
    problem = _contract_problem(model, inputs, outputs)
    add(
        "contract",
        problem,
        f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}; batch dynamic, {LENGTH} positions, "
        f"opset {OPSET}",
    )
    ops = {node.op_type for node in model.graph.node}
    strange = sorted((ops & FORBIDDEN) | (ops - ALLOWED))
    add(
        "operators",
        f"not known to build: {', '.join(strange)}" if strange else "",
        f"{len(model.graph.node)} nodes of {len(ops)} types",
    )
    add(
        "constants",
        _constant_problem(model),
        f"{len(model.graph.initializer)} tensors, all finite, none of 64-bit floats",
    )
    worst = min(row["cosine"] for row in parity["outputs"].values())
    missing = set(outputs) - set(parity["outputs"])
    add(
        "parity",
        f"no figures for {', '.join(sorted(missing))}" if missing else "",
        f"batch 1, 2 and 8; least cosine {worst:.6f}",
    )
    rows.append(aot_build(path, inputs, batches))
    return {"schema_version": 1, "file": path.name, "checks": rows}


def _contract_problem(model: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
    have = tuple(i.name for i in model.graph.input), tuple(o.name for o in model.graph.output)
    if have != (inputs, outputs):
        return f"has inputs {', '.join(have[0])} and outputs {', '.join(have[1])}"
    if {(i.domain, i.version) for i in model.opset_import} != {("", OPSET)}:
        return f"opsets are {[(i.domain, i.version) for i in model.opset_import]}"
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            return f"the batch of {value.name} is not dynamic"
    if any(value.type.tensor_type.shape.dim[1].dim_value != LENGTH for value in model.graph.input):
        return f"an input does not have {LENGTH} positions"
    return ""


def _constant_problem(model: Any) -> str:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.DOUBLE:
            return f"{tensor.name} is a 64-bit float"
        if (
            tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
            and not np.isfinite(numpy_helper.to_array(tensor)).all()
        ):
            return f"{tensor.name} is not finite (a weight past float16's range?)"
    return ""


def aot_build(path: Path, inputs: tuple[str, ...], batches: tuple[int, int, int]) -> dict[str, str]:
    """Build the file ahead of time with tensorrt-rtx, in memory, for one GPU generation; nothing is run on a
    GPU."""
    name = "tensorrt-rtx"
    try:
        import tensorrt_rtx as rtx
    except ImportError:
        return {"name": name, "result": "not run", "detail": 'not run: pip install "safetext-sdk[trt-check]"'}
    import time

    start = time.monotonic()

    class Log(rtx.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            rtx.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= rtx.ILogger.ERROR:
                self.errors.append(message.strip())

    log = Log()
    builder = rtx.Builder(log)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        return {
            "name": name,
            "result": "failed",
            "detail": f"parser: {parser.get_error(0).desc() if parser.num_errors else log.errors[:1]}",
        }
    config = builder.create_builder_config()
    # Without a GPU the target has to be named; 8.9 is the generation of RTX 40.
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
    shapes = builder.create_optimization_profile()
    for value in inputs:
        shapes.set_shape(value, *((size, LENGTH) for size in batches))
    config.add_optimization_profile(shapes)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return {
            "name": name,
            "result": "failed",
            "detail": f"build: {(log.errors or ['no reason given'])[0]}",
        }
    seconds = time.monotonic() - start
    target = f"ahead-of-time build by tensorrt-rtx {rtx.__version__} for compute capability 8.9"
    detail = f"{target}: {engine.nbytes} bytes in {seconds:.1f} s; not run on a GPU"
    return {"name": name, "result": "passed", "detail": detail}


EXPORTER = Exporter(TensorRTOptions, export_tensorrt)
