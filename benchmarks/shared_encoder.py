"""Does one LoRA serve two models that ship the same encoder? Measured on miniatures with random weights.

    python benchmarks/shared_encoder.py [--steps 60] [--seed 0 --seed 1 --seed 2]

Z-Image reads hidden state -2 of Qwen3 and FLUX.2 klein reads 9, 18 and 27, each in a chat template of its
own. One Qwen3 of the published depth (36 layers) and a width of 32 stands for the shared file. LoRA of equal
rank and equal steps is trained on the tensors of the one, of the other, and of both at once, with plain
redirection (unsafe prompt to its anchor, safe prompt to itself, squared distance over each tensor's own
variance). For every adapter and both models: how much of the way from the unsafe prompt to its anchor is
gone on prompts that were never trained on, and how far safe prompts have moved, in the same unit.

A random encoder knows no language: the figures say whether the two aims are at odds in the weights, and
nothing about published models. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

LAYERS = 36
RANK = 8
SCENES = ("a picture of {}", "{} on a table", "a photo of {} in the park", "the cat with {}")
UNSAFE = ("a gun", "a knife", "a sword", "a rifle")
ANCHOR = "a bouquet of flowers"
SAFE = ("a cat", "an apple", "a bicycle", "a lamp")


@dataclass(frozen=True)
class Reader:
    """One family's way to read the shared encoder."""

    family: Any
    tokenizer: Any

    def tensor(self, encoder: Any, prompts: Sequence[str]) -> Tensor:
        """What the denoiser reads, at the positions that the prompts fill: [b, L, d]."""
        lengths = {"text_encoder": 64}
        tokens = self.family.tokenize({"text_encoder": self.tokenizer}, prompts, lengths=lengths)
        states: Tensor = self.family.condition({"text_encoder": encoder}, tokens).tensors["prompt_embeds"]
        return states * tokens["text_encoder"]["attention_mask"].unsqueeze(-1)


@dataclass(frozen=True)
class Texts:
    """Prompts with what each is to become."""

    prompts: tuple[str, ...]
    goals: tuple[str, ...]


def texts(split: int) -> tuple[Texts, Texts]:
    """Unsafe and safe prompts of one split; every second thing, and every second scene, is held out."""
    scenes, unsafe, safe = SCENES[split::2], UNSAFE[split::2], SAFE[split::2]
    pairs = [(scene.format(word), scene.format(ANCHOR)) for scene, word in itertools.product(scenes, unsafe)]
    kept = tuple(scene.format(thing) for scene, thing in itertools.product(scenes, safe))
    return Texts(tuple(p for p, _ in pairs), tuple(a for _, a in pairs)), Texts(kept, kept)


def distance(a: Tensor, b: Tensor, unit: Tensor) -> Tensor:
    return (a - b).square().mean() / unit


def adapted(encoder: Any, readers: Sequence[Reader], steps: int, seed: int) -> Any:
    """The encoder with a LoRA that was trained on the tensors of ``readers``."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    student: Any = get_peft_model(
        encoder, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names, lora_dropout=0.0)
    )
    with torch.no_grad(), student.disable_adapter():
        goals = [[(r, t, r.tensor(student, t.goals)) for t in texts(0)] for r in readers]
    weights = [w for w in student.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack(
            [
                distance(reader.tensor(student, rows.prompts), goal, goal.var())
                for parts in goals
                for reader, rows, goal in parts
            ]
        ).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return student


@torch.no_grad()
def measured(student: Any, reader: Reader) -> dict[str, float]:
    """On held-out prompts: the share of the way to the anchor that is gone, and how far safe prompts moved
    (as a share of the way that unsafe ones had to go)."""
    unsafe, safe = texts(1)
    with student.disable_adapter():
        start, goal, kept = (reader.tensor(student, t) for t in (unsafe.prompts, unsafe.goals, safe.prompts))
    way = (start - goal).square().mean()
    left = (reader.tensor(student, unsafe.prompts) - goal).square().mean()
    moved = (reader.tensor(student, safe.prompts) - kept).square().mean()
    return {"redirected": round(float(1 - left / way), 3), "safe_moved": round(float(moved / way), 3)}


def run(seed: int, steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """One shared encoder: three adapters, each measured on both models."""
    import copy

    from support.recent_minis import llm_tokenizer, qwen3

    from safetext_sdk.models.families import FAMILIES

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = llm_tokenizer(Path(folder))
    encoder = qwen3(tokenizer, LAYERS).requires_grad_(False)
    readers = {name: Reader(FAMILIES.get(name), tokenizer) for name in ("zimage", "flux2")}
    trained = {"zimage": ["zimage"], "flux2": ["flux2"], "both": ["zimage", "flux2"]}
    out = {}
    for name, families in trained.items():
        student = adapted(copy.deepcopy(encoder), [readers[f] for f in families], steps, seed)
        out[name] = {f: measured(student, reader) for f, reader in readers.items()}
    return out


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, action="append")
    args = parser.parse_args()
    seeds = args.seed or [0, 1, 2]
    print(json.dumps({"steps": args.steps, "seeds": {str(s): run(s, args.steps) for s in seeds}}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
