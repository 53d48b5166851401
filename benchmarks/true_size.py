"""Memory and work to harden the published language models and T5s at true size: computed, not measured.

    python benchmarks/true_size.py [--work] [--prompts 64] [--positions 64]

Each encoder is built on torch's meta device from the dimensions of its published configuration: every tensor
has its shape and no memory. LoRA is put beside the layers that the family's denoiser reads, as `harden` does
it, one step's forward pass runs, and every tensor that autograd keeps for the way back is counted. So no
weights are needed, and nothing is estimated but this: kernels are taken as needing no room of their own, the
allocator as wasting nothing, and what is computed in bf16 as kept in bf16. LoRA with its gradients and
moments is in fp32. Attention is fused but for Gemma 2, which transformers computes by hand.

``--prompts``: unsafe and safe ones that go through at once. ``--positions``: tokens that a step reads of
each, the template's included; where pads are read, every fourth step reads all positions, which is the second
figure (Sana reads all in every step).

Work is what torch's counter finds of multiplications and additions in matrix products and attention, forward
and backward, of such a step (``--work``). What the original computes once for every text is not in it. Work
divided by what a card does a second is the least time.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from safetext_sdk.hardening.trainable import LoraSize, lora_copy
from safetext_sdk.models import layout
from safetext_sdk.models.catalogue import CATALOGUE
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.layout import Architecture, EncoderFiles

RANK = 16
GB = 1e9


@dataclass(frozen=True)
class Published:
    """One published text encoder.

    Attributes:
        model: its catalogue id.
        encoder: which of its encoders.
        architecture: as the family names it.
        make: builds it without weights.
        layers_read: how many layers from the embeddings reach the denoiser.
        most: positions that a step reads which reads all, 0 where it ends with the longest prompt.
    """

    model: str
    encoder: str
    architecture: Architecture
    make: Callable[[], nn.Module]
    layers_read: int | None
    most: int


def decoder(
    kind: str, layers: int, width: int, inner: int, heads: int, groups: int, head: int, words: int
) -> Any:
    """A language model of these dimensions; ``kind`` as transformers names its configuration."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=head,
        vocab_size=words,
        attn_implementation="eager" if kind == "Gemma2" else "sdpa",
    )
    return getattr(transformers, f"{kind}Model")(config)


def t5(kind: str, width: int, inner: int, heads: int, words: int) -> Any:
    """A T5 encoder of 24 layers with gated feed-forward layers."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        d_model=width, d_ff=inner, num_layers=24, num_heads=heads, d_kv=64, vocab_size=words,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return getattr(transformers, f"{kind}EncoderModel")(config)


def t5_xxl() -> Any:
    return t5("T5", 4096, 10240, 64, 32128)


def qwen3_4b() -> Any:
    return decoder("Qwen3", 36, 2560, 9728, 32, 8, 128, 151936)


def qwen25_7b() -> Any:
    return decoder("Qwen2", 28, 3584, 18944, 28, 4, 128, 152064)


PUBLISHED = (
    Published("pixart-sigma", "T5 v1.1 XXL", layout.T5, t5_xxl, None, 0),
    Published("chroma1-hd", "T5 v1.1 XXL", layout.T5, t5_xxl, None, 0),
    Published("auraflow", "Pile-T5 XL", layout.UMT5, lambda: t5("UMT5", 2048, 5120, 32, 32128), None, 0),
    Published("z-image-turbo", "Qwen3 4B", layout.QWEN3, qwen3_4b, 35, 0),
    Published("flux2-klein-4b", "Qwen3 4B", layout.QWEN3, qwen3_4b, 27, 512),
    Published(
        "flux2-klein-base-9b",
        "Qwen3 8B",
        layout.QWEN3,
        lambda: decoder("Qwen3", 36, 4096, 12288, 32, 8, 128, 151936),
        27,
        512,
    ),
    Published(
        "flux2-dev",
        "Mistral Small 3, text side",
        layout.QWEN3,
        lambda: decoder("Mistral", 40, 5120, 32768, 32, 8, 128, 131072),
        30,
        512,
    ),
    Published("qwen-image", "Qwen2.5-VL 7B, text side", layout.QWEN3, qwen25_7b, 28, 0),
    Published(
        "qwen-image-2.1",
        "Qwen3-VL 8B, text side",
        layout.QWEN3,
        lambda: decoder("Qwen3", 36, 4096, 12288, 32, 8, 128, 151936),
        36,
        0,
    ),
    Published("kandinsky5-t2i-lite", "Qwen2.5-VL 7B, text side", layout.QWEN3, qwen25_7b, 28, 0),
    Published(
        "sana-1600m",
        "Gemma 2 2B",
        layout.GEMMA2,
        lambda: decoder("Gemma2", 26, 2304, 9216, 8, 4, 256, 256000),
        26,
        500,
    ),
    Published(
        "lumina-image-2",
        "Gemma 2 2B",
        layout.GEMMA2,
        lambda: decoder("Gemma2", 26, 2304, 9216, 8, 4, 256, 256000),
        25,
        0,
    ),
    Published(
        "hidream-i1-full",
        "Llama 3.1 8B",
        layout.LLAMA,
        lambda: decoder("Llama", 32, 4096, 14336, 32, 8, 128, 128256),
        32,
        128,
    ),
)


class Kept:
    """Bytes that autograd keeps, parameters aside, each storage once."""

    def __init__(self, module: nn.Module) -> None:
        self.own = {p.untyped_storage()._cdata for p in module.parameters()}
        self.seen: dict[int, int] = {}
        self.alive: list[Tensor] = []

    def take(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.own:
            self.alive.append(tensor)  # a storage that is freed would lend its number to another
            self.seen[storage._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    @property
    def gigabytes(self) -> float:
        return sum(self.seen.values()) / GB


def activations(student: Any, prompts: int, positions: int) -> float:
    """GB that one forward pass keeps for the way back."""
    kept = Kept(student)
    ids = torch.zeros(prompts, positions, dtype=torch.long, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(kept.take, lambda tensor: tensor):
        student(input_ids=ids)
    return kept.gigabytes


def work(student: Any, prompts: int, positions: int) -> float:
    """Floating-point operations of one step, forward and backward, in units of 1e12."""
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.zeros(prompts, positions, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        student(input_ids=ids)[0].float().sum().backward()
    student.zero_grad(set_to_none=True)
    return counter.get_total_flops() / 1e12


def student_of(entry: Published) -> Any:
    """The encoder with its LoRA, without memory."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = entry.make().to(torch.bfloat16).requires_grad_(False)
        files = EncoderFiles("text_encoder", Path(), entry.architecture, [], {})
        student = lora_copy(encoder, files, LoraSize(RANK, RANK, entry.layers_read), 0)
    for key, parameter in student.named_parameters():
        if "lora_" in key:
            parameter.data = parameter.data.to(torch.bfloat16)  # as autocast computes
    # Layers above the last one that is read are not computed for a loss.
    stack = next(m for m in student.modules() if isinstance(m, nn.ModuleList))
    if entry.layers_read is not None:
        del stack[entry.layers_read :]
    return student


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--work", action="store_true", help="a table of the work of a step instead")
    parser.add_argument("--model", choices=[entry.model for entry in PUBLISHED], action="append")
    args = parser.parse_args()
    if args.work:
        print("| model | encoder | a step | a whole step | 300 steps |")
        print("|---|---|---|---|---|")
    else:
        print("| model | encoder | weights | LoRA | activations | of a whole step | together |")
        print("|---|---|---|---|---|---|---|")
    students: dict[tuple[str, int | None], Any] = {}
    for entry in PUBLISHED:
        key = (entry.encoder, entry.layers_read)
        if args.model and entry.model not in args.model:
            continue
        student = students.get(key) or students.setdefault(key, student_of(entry))
        if args.work:
            whole = work(student, args.prompts, entry.most or args.positions)
            # Where no prefix can be read by itself, every step is whole; else every fourth.
            cut = FAMILIES.get(CATALOGUE[entry.model].family).causal or not entry.most
            short = work(student, args.prompts, args.positions) if cut and entry.most else whole
            some = 225 * short + 75 * whole
            print(
                f"| `{entry.model}` | {entry.encoder} | {short:.0f} TFLOP | {whole:.0f} TFLOP "
                f"| {some / 1000:.0f} PFLOP |",
                flush=True,
            )
            continue
        lora = sum(p.numel() for k, p in student.named_parameters() if "lora_" in k)
        catalogued = next(e for e in CATALOGUE[entry.model].encoders if e.default == "lora")
        if len(CATALOGUE[entry.model].encoders) > 1:
            catalogued = CATALOGUE[entry.model].encoders[-1 if entry.model.startswith("hidream") else 0]
        assert FAMILIES.get(CATALOGUE[entry.model].family)
        weights = catalogued.parameters * 2 / GB
        short = activations(student, args.prompts, args.positions)
        whole = activations(student, args.prompts, entry.most) if entry.most else None
        told = "the same" if whole is None else f"{whole:.0f} GB"
        total = weights + lora * 16 / GB + max(short, whole or 0.0)
        print(
            f"| `{entry.model}` | {entry.encoder} | {weights:.1f} GB | {lora / 1e6:.0f} M, "
            f"{lora * 16 / GB:.1f} GB | {short:.0f} GB | {told} | {total:.0f} GB |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
