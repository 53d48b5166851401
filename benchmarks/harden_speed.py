"""Prompts a second of the real hardening step against a plain loop that does the same work, and shares of the
machine's ceiling.

    python benchmarks/harden_speed.py                          # on a GPU: CLIP-L, OpenCLIP-H, bigG at true
                                                               # size, random weights; on a CPU: a miniature
    python benchmarks/harden_speed.py --models clip-l --batch 2 --steps 2

What runs is the trainer of `safetext harden` (`make_trainer`, `fill_teacher`, `Trainer.run`) with its
defaults but for the batch, on the prompts of a shipped policy, tokenized by the embedded model's tokenizer.

The plain loop does this in every step: original encoder on the anchors and the safe prompts, encoder in
training on the unsafe and the safe prompts, the same loss, backward, clipping, the same fused AdamW. It takes
turns with the trainer's steps, on the very same encoder, optimiser, prompts, type and threads, both with
SDPA, and reads all 77 positions. Two figures of ours stand beside it:

* "same loss": our step at all positions (whole_every=1). The gain is the original's outputs, computed once
  and kept.
* "default": three of four steps read a prefix (whole_every=4). Their loss covers fewer positions, so this is
  not the same loss.

Both carry their share of computing the original's outputs beforehand, for a run of --run-steps steps of
--run-batch prompts. The ceiling is a square matrix product, measured in the same run. On one CPU thread,
times are processor time of this process, so that other load on the machine does not count; else wall time.
Medians over steps.

A second table has the trainer's switches one on top of another, each with a trainer of its own: everything
eager; losses read once a block of steps, prefix lengths in buckets; bf16 working weights and the original's
outputs in bf16, where the precision is bf16; and with --compile the encoders compiled. All rows by turns, in
rounds; medians over blocks of steps, between which alone the device is waited for. "Loss differs by": the
largest relative difference of any step's loss to that of the eager row, all positions read. An epoch is
without filling.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import harden_switches
import numpy as np
import torch

SIZES = {"mini": (128, 2, 4), "clip-l": (768, 12, 12), "openclip-h": (1024, 23, 16), "bigg": (1280, 32, 20)}
TRUE = ("clip-l", "openclip-h", "bigg")
VOCABULARY = 49408


class Clock:
    """Seconds that count: processor time on one CPU thread, else wall time with the device waited for."""

    def __init__(self, device: str, threads: int) -> None:
        self.device, self.alone = device, device == "cpu" and threads == 1
        self.kind = "processor time" if self.alone else "wall time"

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if self.alone else time.perf_counter()


def model_of(name: str, layers: int, device: str, tokenizer: Any) -> Any:
    """A model of the SD 1 form whose encoder has a published encoder's width and depth, and random
    weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from safetext_sdk.models import Source, TextToImageModel
    from safetext_sdk.models.layout import CLIP, EncoderFiles, Layout

    width, _, heads = SIZES[name]
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    with torch.device(device):
        encoder = CLIPTextModel(config).eval().requires_grad_(False)
    layout = Layout(Path(), {"text_encoder": EncoderFiles("text_encoder", Path(), CLIP, [], {})})
    source = Source(name, None, Path(), name)
    parts = {"text_encoder": encoder}, {"text_encoder": tokenizer}
    return TextToImageModel(name, "sd1", source, *parts, torch.device(device), torch.float32, {}, layout)


def texts(policy: str, tokenizer: Any) -> Any:
    """What `harden` trains on."""
    from safetext_sdk.hardening.assemble import TrainingTexts
    from safetext_sdk.hardening.retain_set import build_safe_set
    from safetext_sdk.methods.prompt_table import Pair
    from safetext_sdk.policy import load_policy
    from safetext_sdk.prompts import build_prompt_book

    rules = load_policy(policy)
    book = build_prompt_book(rules, seed=0)
    safe = build_safe_set(book, rules, tokenizer, seed=0, wide=1000)
    pairs = [Pair(p.text, p.anchor, p.concept) for p in book.train.unsafe]
    return TrainingTexts(pairs, [(s.text, s.kind) for s in safe], {c.id: c for c in rules.concepts})


def ceiling(clock: Clock, dtype: torch.dtype) -> float:
    """Matrix-multiply ceiling in FLOP/s: 8192^3 on a GPU, 1536^3 on a CPU; the best of some rounds."""
    n, rounds = (8192, 20) if clock.device == "cuda" else (1536, 4)
    a, b = (torch.randn(n, n, device=clock.device, dtype=dtype) for _ in range(2))
    a @ b
    times = []
    for _ in range(rounds):
        start = clock.now()
        a @ b
        times.append(clock.now() - start)
    return 2 * n**3 / min(times)


def switches(
    name: str, layers: int, args: argparse.Namespace, clock: Clock, words: Any, tokenizer: Any
) -> tuple[harden_switches.Case, Any]:
    """What the second table times of one encoder size, and its plain loop."""
    from safetext_sdk.hardening.assemble import HardeningPlan, make_trainer
    from safetext_sdk.hardening.settings import TrainConfig
    from safetext_sdk.methods import Anchor

    model = model_of(name, layers, clock.device, tokenizer)

    def make(settings: dict[str, Any], folder: Path) -> Any:
        accelerator = harden_switches.accelerator_of(args.precision, clock.device)
        plan = HardeningPlan(
            Anchor(), TrainConfig(batch_size=args.batch, **settings), "default", 0, {"text_encoder": "full"}
        )
        return make_trainer(model, plan, words, folder, accelerator)

    def plain(trainer: Any, optimizer: Any) -> Any:
        for group in optimizer.param_groups:
            group["lr"] = 0.0  # what it costs does not depend on it
        return harden_switches.PlainLoop(trainer, optimizer).step

    narrow = args.precision == "bf16"
    case = harden_switches.Case(
        make, args.batch, args.block, args.blocks, clock.now, narrow, args.compile, args.rounds
    )
    return case, plain


def measure(
    name: str, layers: int, args: argparse.Namespace, clock: Clock, words: Any, tokenizer: Any
) -> dict[str, float]:
    """Figures of one encoder size."""
    from safetext_sdk.hardening.assemble import HardeningPlan, make_trainer
    from safetext_sdk.hardening.settings import TrainConfig
    from safetext_sdk.methods import Anchor

    # Whole and prefix steps by turns, so that both kinds are seen; the first two only warm up.
    config = TrainConfig(
        steps=2 * args.steps + 3, batch_size=args.batch, whole_every=2, checkpoint_seconds=1e9, read_every=1
    )
    method, model = Anchor(), model_of(name, layers, clock.device, tokenizer)
    accelerator = harden_switches.accelerator_of(args.precision, clock.device)
    with tempfile.TemporaryDirectory() as folder:
        plan = HardeningPlan(method, config, "default", 0, {"text_encoder": "full"})
        trainer = make_trainer(model, plan, words, Path(folder), accelerator)
        teacher = trainer.teacher
        # What a run of the real length would cache, and what that costs a row; here only the rows of these
        # steps are filled.
        real = TrainConfig(steps=args.run_steps, batch_size=args.run_batch)
        cached = _rows_cached(trainer, real)
        steps = [trainer.rows(step) for step in range(config.steps)]
        seen = np.unique(np.concatenate([rows for s in steps for rows in (s.anchor, s.safe)]))
        start = clock.now()
        teacher.fill(seen, 1e12, 1e12)
        a_row = (clock.now() - start) / len(seen)
        optimizers: list[torch.optim.Optimizer] = []
        make = trainer._optimizer
        trainer._optimizer = lambda: optimizers.append(make()) or optimizers[-1]  # type: ignore[method-assign, func-returns-value]
        loop = harden_switches.PlainLoop(trainer, None)

        times: dict[str, list[float]] = {"plain": [], "whole": [], "prefix": []}
        positions: list[int] = []
        mark = clock.now()

        def watch(done: int, parts: dict[str, float]) -> None:
            nonlocal mark
            took, step = clock.now() - mark, done - 1
            if step >= 2:
                kind = "whole" if config.reads_whole(step) else "prefix"
                times[kind].append(took)
                if kind == "prefix":
                    positions.append(trainer.lengths(trainer.rows(step))["text_encoder"])
            if step >= 2 and step % 2 == 0:
                start = clock.now()
                loop.optimizer = optimizers[0]
                loop.step(step)
                times["plain"].append(clock.now() - start)
            mark = clock.now()

        trainer.run(False, watch)
    prompts = 2 * args.batch
    weights = sum(p.numel() for p in trainer.trainable.values())
    middle = {kind: statistics.median(values) for kind, values in times.items()}
    before = (
        a_row * cached / (args.run_steps * 2 * args.run_batch) * prompts
    )  # seconds a step of ours owes to the filling
    default = (middle["whole"] + 3 * middle["prefix"]) / 4
    read = (77 + 3 * statistics.mean(positions)) / 4
    return {
        "prompts_plain": prompts / middle["plain"],
        "prompts_same": prompts / (middle["whole"] + before),
        "prompts_default": prompts / (default + before),
        "times_same": middle["plain"] / (middle["whole"] + before),
        "times_default": middle["plain"] / (default + before),
        # Multiply-adds of the trained weights: 6 FLOP a weight and position for forward and backward, 2 for
        # the original's forward.
        "flops_plain": 8 * weights * 77 * prompts / middle["plain"],
        "flops_same": 6 * weights * 77 * prompts / middle["whole"],
        "flops_default": 6 * weights * read * prompts / default,
        "weights": float(weights),
        "positions": read,
        "steps": float(len(times["whole"])),
        "filling_share": before / (middle["whole"] + before),
        "owed": before,
    }


def _rows_cached(trainer: Any, config: Any) -> int:
    """How many rows a run with ``config`` would compute beforehand, by its own rule, without computing
    them."""
    from safetext_sdk.hardening.teacher import Teacher
    from safetext_sdk.methods.context import StepSizes

    kind = trainer.teacher.pace.kept_as or torch.float32
    row_bytes = kind.itemsize * 77 * trainer.teacher.bundle.encoders["text_encoder"].config.hidden_size

    class Counter(Teacher):
        seen: ClassVar[set[int]] = set()

        def fill(self, rows: np.ndarray, device_bytes: float, reads: float) -> bool:
            new = set(rows.tolist()) - self.seen
            room = device_bytes + self.pace.host_bytes
            if fits := (len(self.seen) + len(new)) * row_bytes <= room and reads > len(new):
                self.seen |= new
            return fits

    context = trainer.context
    counter = Counter(trainer.teacher.bundle, context.table, context.device, config, trainer.teacher.autocast)
    sizes = StepSizes(config.steps, config.batch_size, config.safe_size)
    dataclasses.replace(
        trainer, teacher=counter, context=dataclasses.replace(context, teacher=counter, sizes=sizes)
    ).prepare()
    return len(counter.seen)


def row_text(name: str, layers: int, found: dict[str, float], peak: float, batch: int) -> str:
    """One row of the table."""
    speed = " | ".join(
        f"{found[f'prompts_{k}']:.2f} ({found[f'flops_{k}'] / peak:.0%})"
        for k in ("plain", "same", "default")
    )
    full = SIZES[name][1]
    size = f"{name}, {layers} of {full} layers" if layers != full else f"{name}, {full} layers"
    return (
        f"| {size}, {found['weights'] / 1e6:.0f} M trained | {batch} + {batch} | {found['steps']:.0f} | "
        f"{speed} | "
        f"**{found['times_same']:.2f}** | {found['times_default']:.2f} |"
    )


HEAD = (
    "| encoder | batch | steps timed | plain loop | ours, same loss | ours, default | same loss / plain | "
    "default / plain |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        nargs="+",
        help=f"{', '.join(SIZES)}; name:4 = 4 layers only. Absent: true sizes on a GPU, mini on a CPU",
    )
    parser.add_argument(
        "--batch",
        type=int,
        help="unsafe prompts a step; as many safe ones come with them. Absent: 128 on a GPU, 8 on a CPU",
    )
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each kind")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--precision", choices=["no", "bf16"], help="of autocast. Absent: bf16 on a GPU, no on a CPU"
    )
    parser.add_argument("--block", type=int, default=20, help="steps between two readings of the losses")
    parser.add_argument("--rounds", type=int, default=2, help="rounds over the rows of the second table")
    parser.add_argument("--blocks", type=int, default=4, help="timed blocks of the second table; 0 = without")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="a row with compiled encoders"
    )
    parser.add_argument("--policy", default="weapons")
    parser.add_argument(
        "--run-steps", type=int, default=300, help="length of the run over which filling the cache is spread"
    )
    parser.add_argument("--run-batch", type=int, default=32)
    parser.add_argument("--append", type=Path, help="also append the lines to this file")
    args = parser.parse_args()
    on_gpu = args.device == "cuda"
    args.models = args.models or [*(TRUE if on_gpu else ("mini",))]
    args.batch = args.batch or (128 if on_gpu else 8)
    args.precision = args.precision or ("bf16" if on_gpu else "no")
    args.compile = on_gpu if args.compile is None else args.compile
    torch.set_num_threads(args.threads)
    clock = Clock(args.device, args.threads)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    from safetext_sdk.models import load_model

    tokenizer = load_model("tiny", device="cpu").tokenizers["text_encoder"]
    words = texts(args.policy, tokenizer)
    peak = ceiling(clock, dtype)
    place = (
        torch.cuda.get_device_name() if args.device == "cuda" else f"{processor()}, {args.threads} thread(s)"
    )
    kind = str(dtype).removeprefix("torch.")
    lines = [
        f"{place}; {kind}; {clock.kind}; matrix products at {peak / 1e9:.1f} GFLOP/s; torch "
        f"{torch.__version__}",
        "",
        HEAD,
    ]
    print("\n".join(lines), flush=True)
    sizes = []
    for wanted in args.models:
        name, _, fewer = wanted.partition(":")
        layers = int(fewer) if fewer else SIZES[name][1]
        sizes.append((name, layers, measure(name, layers, args, clock, words, tokenizer)))
        lines.append(row_text(*sizes[-1], peak, args.batch))
        print(lines[-1], flush=True)
    if args.blocks:
        lines += ["", harden_switches.HEAD]
        print("\n".join(lines[-2:]), flush=True)
    for name, layers, found in sizes if args.blocks else ():
        case, plain = switches(name, layers, args, clock, words, tokenizer)
        work = 6 * found["weights"] * 77 * 2 * args.batch
        for line in harden_switches.table(name, case, plain, found["owed"], work, peak):
            lines.append(line)
            print(line, flush=True)
    if args.append:
        with open(args.append, "a", encoding="utf-8") as handle:
            handle.write("\n".join(lines) + "\n")


def processor() -> str:
    """The processor's name where Linux tells it."""
    path = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in path.read_text().splitlines()
            if line.startswith("model name")
        ]
        if path.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
