"""Do the largest CLIP encoders export: SD 2.x's OpenCLIP-H and SDXL's bigG, at true size, with random
weights?

    python benchmarks/export_large.py                                  # every case; about half an hour on one
    core, 12 GB of memory python benchmarks/export_large.py --encoders openclip-h --precisions fp16 --pooling
    first-eos python benchmarks/export_large.py --trt-check                      # also the TensorRT check on
    OpenCLIP-H in fp16

Each case runs in a process of its own, so that its peak memory is its own, and goes through the exporter's
own code: `export_encoder` measures parity to transformers at batch 1, 2 and 8 and refuses a file that is too
    far. Then:

* the encoder is exported a second time and every byte compared;
* the graph's opset is 18, no node or tensor carries a note, and no string in it is a path;
* the folder is moved and loaded in onnxruntime from another working directory (external data must be found
  beside the graph).

A case that fails any of these ends the program with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENCODERS: dict[str, dict[str, Any]] = {
    "openclip-h": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "projection_dim": 512,
    },
    "bigg": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
    },
    "miniature": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 32,
        "vocab_size": 9000,
    },
}
"""openclip-h: SD 2.x's ``text_encoder``; bigg: SDXL's ``text_encoder_2``, with its projection; miniature: to
see that this works."""

FAMILY = {"openclip-h": "sd2", "bigg": "sdxl", "miniature": "sdxl"}
POOLING = ("highest-id", "first-eos")
"""``eos_token_id`` 2 in the configuration means the highest id (the first CLIP releases); anything else the
first end token."""


def encoder_and_tokenizer(size: str, pooling: str) -> tuple[Any, Any]:
    """A published architecture with random weights, and the embedded model's tokenizer (its ids are valid in
    the larger vocabulary)."""
    import torch
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from safetext_sdk import tiny

    tokenizer = AutoTokenizer.from_pretrained(tiny.path() / "tokenizer")
    torch.manual_seed(0)
    values = {"vocab_size": 49408, "hidden_act": "gelu", **ENCODERS[size]}
    eos = 2 if pooling == "highest-id" else tokenizer.eos_token_id
    config = CLIPTextConfig(
        **values, bos_token_id=tokenizer.bos_token_id, eos_token_id=eos, pad_token_id=tokenizer.pad_token_id
    )
    kind = CLIPTextModel if size == "openclip-h" else CLIPTextModelWithProjection
    return kind(config).eval().requires_grad_(False), tokenizer


def digests(folder: Path) -> dict[str, str]:
    from safetext_sdk.files import sha256_file

    return {p.name: sha256_file(p) for p in sorted(folder.glob("model.onnx*"))}


def graph_problem(path: Path) -> str:
    """What is wrong with the graph apart from its numbers; "" = nothing. Weights are not read."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if {(i.domain, i.version) for i in model.opset_import} != {("", 18)}:
        return f"opsets are {[(i.domain, i.version) for i in model.opset_import]}"
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value != path.name + "_data":
                return f"external data of {tensor.name} is looked for at {entry.value}"
        tensor.ClearField("raw_data")
    text = str(model)
    return next(
        (
            f"the graph holds {needle!r}"
            for needle in ("/", "\\\\", ".py", "metadata_props", "doc_string")
            if needle in text
        ),
        "",
    )


def run_case(size: str, precision: str, pooling: str, folder: Path) -> dict[str, Any]:
    """Export twice, compare, look at the graph, move, load; the figures of one row."""
    import shutil

    import torch
    from safetext_exporters import parity
    from safetext_exporters.onnx import MODEL, Asked, default_contract, export_encoder, write_graph
    from safetext_exporters.tokenizer import token_ids

    from safetext_sdk.models.families import FAMILIES
    from safetext_sdk.models.onnx_encoder import OnnxEncoder

    encoder, tokenizer = encoder_and_tokenizer(size, pooling)
    asked = Asked(default_contract(FAMILIES.get(FAMILY[size])), precision)
    first, second, moved = folder / "first", folder / "second", folder / "elsewhere" / "moved"
    start = time.perf_counter()
    record = export_encoder(encoder, tokenizer, first, asked)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    before = digests(first)
    second.mkdir()
    write_graph(encoder, second / MODEL, asked)
    same = before == digests(second)
    shutil.rmtree(second)
    size_bytes = sum(p.stat().st_size for p in first.glob("model.onnx*"))
    moved.parent.mkdir()
    first.rename(moved)
    os.chdir("/")
    problem = graph_problem(moved / "model.onnx")
    inputs = torch.tensor(token_ids(tokenizer, parity.prompts()[1:2]))
    with torch.no_grad():
        out = encoder(inputs)
    again, pooled = (
        OnnxEncoder(moved).run({"input_ids": inputs}),
        "text_embeds" if hasattr(out, "text_embeds") else "pooler_output",
    )
    cosine = torch.nn.functional.cosine_similarity(again[pooled].double(), out[pooled].double()).item()
    return {
        "encoder": size,
        "precision": precision,
        "pooling": pooling,
        "megabytes": size_bytes / 1e6,
        "files": len(before),
        "seconds": seconds,
        "max_abs": max(row["max_abs"] for row in record["outputs"].values()),
        "relative": max(row["relative"] for row in record["outputs"].values()),
        "cosine": min(row["cosine"] for row in record["outputs"].values()),
        "peak_gigabytes": peak,
        "deterministic": same,
        "graph_problem": problem,
        "moved_cosine": cosine,
        "ok": same
        and not problem
        and cosine > 0.98
        and (size != "bigg" or precision != "fp32" or len(before) == 2),
    }


def trt_case(size: str, folder: Path) -> dict[str, Any]:
    """The check of the target ``tensorrt`` on a float16 export; with the extra trt-check also the
    ahead-of-time build."""
    from safetext_exporters.graph import signature
    from safetext_exporters.onnx import Asked, export_encoder
    from safetext_exporters.tensorrt import check_model

    from safetext_sdk.models.families import FAMILIES

    encoder, tokenizer = encoder_and_tokenizer(size, "first-eos")
    name = "text_encoder_2" if hasattr(encoder, "text_projection") else "text_encoder"
    demo = FAMILIES.get(FAMILY[size]).demo_outputs(name)
    record = export_encoder(encoder, tokenizer, folder / "trt", Asked("trt-demo", "fp16", demo=demo))
    given = signature(encoder, "trt-demo", demo)
    del encoder
    return check_model(folder / "trt" / "model.onnx", given.inputs, given.outputs, record)


def in_its_own_process(*arguments: str) -> dict[str, Any] | None:
    """Run one case; None and the error on stderr if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        command = [sys.executable, __file__, "--one", *arguments, "--folder", folder, "--json", str(out)]
        if subprocess.run(command, check=False).returncode or not out.is_file():
            return None
        row: dict[str, Any] = json.loads(out.read_text())
        return row


def print_row(row: dict[str, Any], header: bool) -> None:
    """One row of the table, as markdown."""
    if header:
        print(
            "| encoder | precision | pooling | MB | files | export s | peak GB | max abs | of largest | "
            "least cosine | same bytes twice |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
    figures = (
        f"{row['megabytes']:.0f} | {row['files']} | {row['seconds']:.0f} | "
        f"{row['peak_gigabytes']:.1f} | {row['max_abs']:.1e}"
    )
    shown = (
        f"{figures} | {row['relative']:.1e} | {row['cosine']:.6f} | {'yes' if row['deterministic'] else 'NO'}"
    )
    print(f"| {row['encoder']} | {row['precision']} | {row['pooling']} | {shown} |", flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["openclip-h", "bigg"])
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "fp16", "int8"], default=["fp32", "fp16"])
    parser.add_argument("--pooling", nargs="+", choices=POOLING, default=list(POOLING))
    parser.add_argument(
        "--trt-check", action="store_true", help="also the TensorRT check, on the first of --encoders"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder: Path = options.folder
        row = (
            trt_case(options.one[1], folder)
            if options.one[0] == "trt"
            else run_case(*options.one, folder=folder)
        )
        options.json.write_text(json.dumps(row, indent=2))
        return 0
    rows: list[dict[str, Any]] = []
    failed = 0
    for size in options.encoders:
        for precision in options.precisions:
            for pooling in options.pooling:
                row = in_its_own_process(size, precision, pooling)
                if row is None or not row["ok"]:
                    failed += 1
                    print(
                        f"FAILED: {size} {precision} {pooling}: "
                        f"{row and {k: row[k] for k in ('deterministic', 'graph_problem', 'ok')}}"
                    )
                if row is not None:
                    print_row(row, header=not rows)
                    rows.append(row)
    if options.trt_check:
        report = in_its_own_process("trt", options.encoders[0])
        print(f"\nTensorRT check, {options.encoders[0]}, fp16:")
        for check in (
            report["checks"] if report else [{"name": "all", "result": "failed", "detail": "see above"}]
        ):
            print(f"* {check['name']}: {check['result']}: {check['detail']}")
            failed += check["result"] == "failed"
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2))
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
