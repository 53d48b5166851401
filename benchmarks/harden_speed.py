"""Prompts a second of the trainer's step against a plain loop that does the same work, and the share of the machine's ceiling.

    python benchmarks/harden_speed.py                     # CLIP-L, OpenCLIP-H, bigG at true size, random weights
    python benchmarks/harden_speed.py --model clip-l --batch 8 --steps 3 --layers 2      # a CPU-sized look

Both loops run AdamW (fused) and SDPA, with the same type and threads. The plain loop reads all 77 positions of student and
original at every step; ours reads prefixes in three of four steps and keeps anchors' targets. The ceiling is a square matrix
product measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch
from torch.nn.functional import mse_loss

SIZES = {"clip-l": (768, 12, 12, 49408), "openclip-h": (1024, 23, 16, 49408), "bigg": (1280, 32, 20, 49408)}


def build(name: str, layers: int | None, device: str) -> Any:
    """A text encoder of true width with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    width, depth, heads, vocabulary = SIZES[name]
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers or depth,
        num_attention_heads=heads,
        max_position_embeddings=77,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    return CLIPTextModel(config).to(device)


def ceiling(device: str, dtype: torch.dtype) -> float:
    """Matrix-multiply ceiling in FLOP/s: 8192^3 on a GPU, 1024^3 on a CPU."""
    n, rounds = (8192, 20) if device == "cuda" else (1024, 5)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    a @ b
    _wait(device)
    start = time.perf_counter()
    for _ in range(rounds):
        a @ b
    _wait(device)
    return 2 * n**3 * rounds / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def run(student: Any, original: Any, batch: int, steps: int, device: str, dtype: torch.dtype, plain: bool) -> tuple[float, float]:
    """(prompts a second, positions read a prompt) over ``steps`` steps of ``batch`` unsafe and ``batch`` safe prompts."""
    from safetext_sdk.hardening.config import TrainConfig
    from safetext_sdk.hardening.schedule import reads_whole

    config = TrainConfig(steps=steps)
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-5, fused=True)
    ids = torch.randint(3, 40_000, (2 * batch, 77), device=device)
    kept = torch.randn(batch, 77, student.config.hidden_size, device=device)
    positions = 0

    def step(number: int) -> int:
        length = 77 if plain or reads_whole(number, config) else 20
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                rows = ids if plain else ids[batch:]
                target = original(rows[:, :length]).last_hidden_state.float()
            if not plain:
                target = torch.cat([kept[:, :length], target])
            out = student(ids[:, :length]).last_hidden_state.float()
        mse_loss(out, target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return length

    for number in range(2):
        step(number)
    _wait(device)
    start = time.perf_counter()
    for number in range(steps):
        positions += step(number)
    _wait(device)
    return 2 * batch * steps / (time.perf_counter() - start), positions / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*SIZES], action="append")
    parser.add_argument("--batch", type=int, default=128, help="unsafe prompts a step; as many safe ones come with them")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--layers", type=int, help="fewer layers than the real model, for a look on a small machine")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    peak = ceiling(device, dtype)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}: matrix products at {peak / 1e12:.2f} TFLOP/s ({dtype})", file=sys.stderr)
    for model in args.model or SIZES:
        original = build(model, args.layers, device).eval().requires_grad_(False)
        student = build(model, args.layers, device)
        student.get_input_embeddings().requires_grad_(False)
        weights = sum(p.numel() for n, p in student.named_parameters() if "embedding" not in n)
        row: dict[str, Any] = {
            "model": model,
            "device": name,
            "layers": args.layers or SIZES[model][1],
            "batch": args.batch,
            "steps": args.steps,
        }
        for plain in (True, False):
            speed, positions = run(student, original, args.batch, args.steps, device, dtype, plain)
            # Forward and backward of the student: 6 FLOP a weight and position; the original's forward: 2, on all prompts or the safe half.
            flops = speed * positions * weights * (6 + (2 if plain else 1))
            row |= {
                f"{'plain' if plain else 'ours'}_prompts_s": round(speed, 2),
                f"{'plain' if plain else 'ours'}_share": round(flops / peak, 3),
            }
        row["times_plain"] = round(row["ours_prompts_s"] / row["plain_prompts_s"], 2)
        row["epoch_6911_pairs_s"] = round(2 * 6911 / row["ours_prompts_s"], 2)
        print(json.dumps(row))
        del original, student


if __name__ == "__main__":
    main()
