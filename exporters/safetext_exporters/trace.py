"""From a torch CLIP or T5 encoder to a clean ONNX file: trace, strip, save, quantise. Same weights in, same
bytes out.

* ``dynamo=True`` with opset 18. The exporter silently keeps 18 when a lower one is asked for, so the result
  is asserted, not assumed.
* The exporter writes absolute paths, source lines and Python reprs into ``metadata_props``: all of it goes.
* A model past 2 GB does not fit into one protobuf message: its tensors go into ``model.onnx_data`` beside it.
"""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from safetext_sdk.errors import MissingExtraError, ModelError, UsageError

from .graph import LENGTH, ClipGraph
from .t5_graph import INPUTS, OUTPUTS, T5Graph

OPSET = 18
PRECISIONS = ("fp32", "fp16", "int8")
DATA_SUFFIX = "_data"
TWO_GB = 2 * 1000**3
"""Past this many bytes of weights the tensors are written beside the graph (protobuf ends at 2 GiB)."""

FORBIDDEN = frozenset({"Shape", "Range", "Where", "IsNaN", "If", "Loop", "Scan", "NonZero"})
"""Operators that a static text encoder does not need and that stop TensorRT or slow it down."""


def need_onnx(what: str) -> None:
    """Import what writing ONNX needs, or say how to install it.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(what, "onnx") from error


def check_options(precision: str, opset: int, ids_dtype: str) -> None:
    """Refuse what this exporter does not write.

    Raises:
        UsageError: precision, opset or id type that is not supported, with what is.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if opset != OPSET:
        raise UsageError(
            f"opset {opset} is not supported: this exporter writes opset {OPSET} and nothing else; leave "
            "the option out"
        )
    if ids_dtype not in ("int32", "int64"):
        raise UsageError(f"ids_dtype must be int32 or int64, not {ids_dtype!r}")


def _strip(model: Any) -> None:
    """Remove every note that the exporter left in an onnx_ir model, in place."""
    model.metadata_props.clear()
    model.doc_string, model.producer_name, model.producer_version = None, "safetext", None
    graph = model.graph
    graph.metadata_props.clear()
    graph.doc_string, graph.name = None, "text_encoder"
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
        if getattr(value, "const_value", None) is not None:
            value.const_value.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None


def _assert_opset(imports: dict[str, int]) -> None:
    if imports.get("", 0) != OPSET:
        raise ModelError(
            f"the exporter wrote opset {imports.get('', 0)} where {OPSET} was asked for; nothing is kept"
        )


def trace(
    encoder: nn.Module,
    contract: str,
    *,
    demo: tuple[str, ...] = (),
    half: bool = False,
    ids_dtype: str = "int32",
) -> Any:
    """The encoder's graph as an ``onnx_ir.Model``, stripped, opset 18, batch dynamic, 77 positions.

    Args:
        encoder: transformers CLIP text encoder, on any device and in any dtype; it is not changed.
        contract: key of `graph.CONTRACTS`.
        demo: as `graph.signature`.
        half: cast weights to float16 before tracing, so that precision is in the graph.
        ids_dtype: ``int32`` or ``int64`` for ``input_ids`` and ``attention_mask``.

    Raises:
        ModelError: not a CLIP encoder, or the exporter did not do what was asked.
    """
    plain = (
        copy.deepcopy(encoder)
        .to("cpu", torch.float16 if half else torch.float32)
        .eval()
        .requires_grad_(False)
    )
    graph = ClipGraph(plain, contract, demo).eval()
    # One tensor each: torch.export takes two inputs that are the same object for one input.
    args = tuple(torch.ones((2, LENGTH), dtype=getattr(torch, ids_dtype)) for _ in graph.signature.inputs)
    axes = {0: torch.export.Dim("batch")}
    return _exported(graph, args, axes, (graph.signature.inputs, graph.signature.outputs))


def trace_t5(encoder: nn.Module, *, half: bool = False, ids_dtype: str = "int32") -> Any:
    """A T5 or UMT5 encoder's graph as an ``onnx_ir.Model``, stripped, opset 18, batch and length dynamic.

    Args:
        encoder: transformers' encoder, on any device and in any dtype; it is not changed.
        half: see `T5Graph`.
        ids_dtype: ``int32`` or ``int64`` for both inputs.

    Raises:
        ModelError: the exporter did not do what was asked.
    """
    graph = T5Graph(encoder, half).eval()
    args = tuple(torch.ones((2, 24), dtype=getattr(torch, ids_dtype)) for _ in INPUTS)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    return _exported(graph, args, axes, (INPUTS, OUTPUTS))


def _exported(
    graph: nn.Module,
    args: tuple[torch.Tensor, ...],
    axes: dict[int, Any],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> Any:
    """``graph`` through PyTorch's exporter, with dynamic ``axes`` and the ``names`` of inputs and outputs."""
    noisy = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript")
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph,
                args,
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                input_names=list(names[0]),
                output_names=list(names[1]),
                dynamic_shapes=tuple(axes for _ in args),
            )
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
    if program is None:
        raise ModelError("torch.onnx.export returned nothing")
    model = program.model
    _assert_opset(dict(model.opset_imports))
    _strip(model)
    return model


def save(model: Any, path: Path, external_over: int = TWO_GB) -> None:
    """Write an ``onnx_ir.Model`` to ``path``; past ``external_over`` bytes of weights, tensors go to
    ``<name>_data`` beside it."""
    import onnx_ir

    size = sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )
    if size > external_over:
        onnx_ir.save(model, path, external_data=path.name + DATA_SUFFIX, size_threshold_bytes=1024)
    else:
        onnx_ir.save(model, path)


def quantize(source: Path, target: Path, external_over: int = TWO_GB) -> None:
    """Dynamic int8 quantisation, per channel, of an fp32 file: weights int8, activations uint8 at run time.

    Weights use 7 of the 8 bits. A processor without VNNI multiplies with ``vpmaddubsw``, which adds two
    products
    into 16 bits and cuts them off there: with 8-bit weights 2 x 255 x 127 does not fit, with 7-bit ones
    2 x 255 x 64 does, so the file gives the same numbers on every x86-64. It costs accuracy, not speed
    (figures: docs/exporters/onnx.md).

    Not for TensorRT, which refuses this form. Safety must be measured again on the result.
    """
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    big = source.with_name(source.name + DATA_SUFFIX).exists()
    raw, bare = target.with_suffix(".raw"), source.with_name(f".{source.name}.bare")
    logger = logging.getLogger()
    level = logger.level
    try:
        _without_weight_shapes(source, bare)
        logger.setLevel(
            logging.ERROR
        )  # onnxruntime advises a preprocessing step that this graph does not need, through the root logger
        quantize_dynamic(
            str(bare),
            str(raw),
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gather"],
            use_external_data_format=big,
            extra_options={"MatMulConstBOnly": True},
        )
        model = onnx_ir.load(raw)
        _assert_opset(dict(model.opset_imports))
        _strip(model)
        save(model, target, external_over)
    finally:
        logger.setLevel(level)
        bare.unlink(missing_ok=True)
        for leftover in target.parent.glob(raw.name + "*"):
            leftover.unlink()


def _without_weight_shapes(source: Path, target: Path) -> None:
    """The graph without notes on its weights' shapes: onnxruntime turns a projection round and then stumbles
    over the old shape."""
    import onnx

    model = onnx.load(str(source), load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    onnx.save(model, str(target))  # external tensors stay where they are: the file lies in the same folder


def op_counts(path: Path) -> dict[str, int]:
    """Operator type to how often it occurs, sorted by name. Weights are not read."""
    import onnx

    counts: dict[str, int] = {}
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))
