"""How fast and how large is an exported encoder, against torch, in one run?

    python benchmarks/export_speed.py                         # SD 1.4's encoder size, random weights, CPU,
    one thread and two python benchmarks/export_speed.py --model RUN --json out.json
    python benchmarks/export_speed.py --size tiny --repeats 5  # seconds, to see that it works

* Every repeat times all candidates one after the other, so that a busy machine slows all of them; the figure
  is the median of the ratios within a repeat, not the ratio of two medians.
* torch is transformers' encoder with its default attention, float32, under inference_mode.
* Random weights have the speed of real ones. The cosine to torch is reported beside the speed: a fast wrong
  answer is no answer.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetext_exporters.trace import quantize, save, trace

from safetext_sdk.models.onnx_encoder import OnnxEncoder

SIZES = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1000,
    },
    "clip-l": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "openclip-h": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
    "bigg": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "hidden_act": "gelu",
        "projection_dim": 1280,
    },
}
"""What published encoders have; weights are random."""


def random_encoder(size: str) -> Any:
    """An encoder of a published size with random weights; bigg has a projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    values = dict(SIZES[size])
    vocabulary = int(values.setdefault("vocab_size", 49408))
    config = CLIPTextConfig(
        **values, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1
    )
    return (
        (CLIPTextModelWithProjection if size == "bigg" else CLIPTextModel)(config)
        .eval()
        .requires_grad_(False)
    )


def prompt_ids(encoder: Any, batch: int) -> torch.Tensor:
    """Ids [batch, 77] of random length, with start, end and padding."""
    generator = torch.Generator().manual_seed(1)
    last = int(encoder.config.vocab_size) - 1
    ids = torch.full((batch, 77), last)
    for row in ids:
        length = int(torch.randint(5, 70, (1,), generator=generator))
        row[0] = last - 1
        row[1:length] = torch.randint(0, last - 1, (length - 1,), generator=generator)
    return ids


def files(encoder: Any, folder: Path, precisions: list[str]) -> dict[str, Path]:
    """One exported file for each precision."""
    out = {}
    for precision in ["fp32", *precisions]:
        path = folder / precision / "model.onnx"
        if precision in out:
            continue
        path.parent.mkdir()
        if precision == "int8":
            quantize(out["fp32"], path)
        else:
            save(trace(encoder, "optimum", half=precision == "fp16"), path)
        encoder.config.to_json_file(str(path.with_name("config.json")), use_diff=False)
        out[precision] = path
    return {precision: out[precision] for precision in precisions}


def size_of(path: Path) -> float:
    """Megabytes of a model with its external data."""
    return sum(p.stat().st_size for p in path.parent.glob("model.onnx*")) / 1e6


def measure(calls: dict[str, Callable[[], Any]], repeats: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a call, per candidate and repeat; each repeat times every candidate for about ``seconds``."""
    counts = {}
    for name, call in calls.items():
        for _ in range(2):
            call()
        start = time.perf_counter()
        call()
        counts[name] = max(1, int(seconds / max(time.perf_counter() - start, 1e-6)))
    out: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            out[name].append((time.perf_counter() - start) / counts[name])
    return out


def run(encoder: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All figures as rows."""
    rows: list[dict[str, Any]] = []
    providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
    torch_size = sum(p.numel() * p.element_size() for p in encoder.parameters()) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        paths = files(encoder, Path(folder), options.precisions)
        for threads in options.threads if options.device == "cpu" else [1]:
            torch.set_num_threads(threads)
            model = encoder.to(options.device)
            exported = {
                p: OnnxEncoder(path, providers=[providers[options.device]], threads=threads)
                for p, path in paths.items()
            }
            for batch in options.batches:
                ids = prompt_ids(encoder, batch)
                with torch.inference_mode():
                    on_device = ids.to(options.device)
                    want = model(on_device)[0].float().cpu()

                    def torch_call(ids: torch.Tensor = on_device, model: Any = model) -> Any:
                        with torch.inference_mode():
                            return model(ids)[0].cpu()

                    calls: dict[str, Callable[[], Any]] = {"torch": torch_call}
                    calls |= {p: lambda e=e, ids=ids: e.run({"input_ids": ids}) for p, e in exported.items()}
                    times = measure(calls, options.repeats, options.seconds)
                for name, values in times.items():
                    got = want if name == "torch" else exported[name](ids)[0].float()
                    rows.append(
                        {
                            "name": name,
                            "threads": threads,
                            "batch": batch,
                            "milliseconds": statistics.median(values) * 1e3,
                            "times_torch": statistics.median(
                                t / v for t, v in zip(times["torch"], values, strict=True)
                            ),
                            "megabytes": torch_size if name == "torch" else size_of(paths[name]),
                            "cosine": float(
                                torch.nn.functional.cosine_similarity(
                                    got.double().flatten(1), want.double().flatten(1)
                                ).min()
                            ),
                        }
                    )
                    print_row(rows[-1], header=len(rows) == 1)
    return rows


def print_row(row: dict[str, Any], header: bool) -> None:
    """One row of the table, as markdown."""
    if header:
        print(
            "| encoder | threads | batch | ms | x torch | MB | least cosine to torch "
            "|\n|---|---|---|---|---|---|---|",
            flush=True,
        )
    figures = (
        f"{row['milliseconds']:.1f} | {row['times_torch']:.2f} | {row['megabytes']:.0f} | {row['cosine']:.6f}"
    )
    print(f"| {row['name']} | {row['threads']} | {row['batch']} | {figures} |", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", choices=SIZES, default="clip-l", help="a published encoder's size, with random weights"
    )
    parser.add_argument("--model", help="a run folder or a model instead: its first encoder")
    parser.add_argument(
        "--precisions", nargs="+", default=["fp32", "fp16", "int8"], choices=["fp32", "fp16", "int8"]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 8])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="time of one candidate in one repeat")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if options.model:
        from safetext_sdk.models import load_model

        encoder = next(iter(load_model(options.model, device="cpu", precision="fp32").encoders.values()))
    else:
        encoder = random_encoder(options.size)
    import onnxruntime

    versions = {
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }
    processor = next(
        (line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")),
        platform.processor(),
    )
    print(f"{options.model or options.size}, {options.device}, {processor}, {versions}\n")
    rows = run(encoder, options)
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "model": options.model or options.size,
                    "versions": versions,
                    "processor": processor,
                    "rows": rows,
                },
                indent=2,
            )
        )


def cpu_lines() -> list[str]:
    """What Linux says about the processor; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
