"""int8 gives the same numbers on every x86-64: no sum of two products passes 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetext_exporters import export
from support.minis import build_sdxl

from safetext_sdk.models import load_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def avx2(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """uint8 [b, k] times int8 [k, n] as a processor without VNNI does it: ``vpmaddubsw`` adds the products of
    two neighbours into 16 bits and cuts them off there."""
    a, w = activations.astype(np.int64), weights.astype(np.int64)
    pairs = a[:, 0::2, None] * w[None, 0::2] + a[:, 1::2, None] * w[None, 1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)


def int8_weights(path: Path) -> list[np.ndarray]:
    model = onnx.load(str(path))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return [
        tensors[node.input[1]]
        for node in model.graph.node
        if node.op_type == "MatMulInteger" and node.input[1] in tensors
    ]


def test_no_processor_cuts_a_sum_off(tmp_path: Path) -> None:
    model = load_model(build_sdxl(tmp_path / "model"), device="cpu")
    out = export(model, "onnx", out=tmp_path / "onnx", precision="int8", recheck=0).folder
    found = [w for path in sorted(out.rglob("model.onnx")) for w in int8_weights(path)]
    # six a layer, three and four layers, and one projection
    assert len(found) == 6 * (3 + 4) + 1
    generator, cut_off = np.random.default_rng(0), False
    for weights in found:
        assert weights.dtype == np.int8
        assert np.abs(weights.astype(int)).max() > 32  # seven bits are used, not fewer
        depth = len(weights)
        rows = np.concatenate([np.full((1, depth), 255), generator.integers(0, 256, (7, depth))])
        # the largest sums there are: activations only where the weights have one sign
        rows = np.concatenate([rows, *(255 * (s * weights[:, :4] > 0).T.astype(int) for s in (1, -1))])
        assert np.array_equal(avx2(rows, weights), rows @ weights.astype(np.int64))
        double = np.clip(2 * weights.astype(int), -127, 127)
        cut_off |= not np.array_equal(avx2(rows, double), rows @ double)
    assert cut_off, "eight bits would have passed too; then this test says nothing"
