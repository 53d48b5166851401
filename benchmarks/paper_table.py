"""The paper's table for whoever has the weights: python benchmarks/paper_table.py MODEL --out runs/paper

Hardens MODEL with the method `safetext` (arXiv 2502.20623) and with the default, puts both beside the
baselines, and measures all of them on the paper's kind of sets: four of unsafe prompts, adversarial ones,
three of safe prompts. For each it has NRR of every unsafe and adversarial set, the unsafe rate under every
attack, LPIPS, FID and SSIM of every safe set, what is kept, and what it costs. Every figure has its one-sided
95 % bounds, and the table says which judge profile its rates are of.

* **Sets** are files (jsonl, csv, txt, parquet) or published sets by name (`safetext prompts list`;
  `i2p/sexual`, `mma=copy.csv`): --unsafe, --adversarial, --safe. On `tiny` they are its own: weapons in four
  groups of words, the attacks' texts, and the three safe sets of the validation.
* **Metrics** come from the registry by name. One that is not installed, or whose weights were not named
  (--set lpips.weights=alex.safetensors,heads.safetensors fid.extractor=inception.pt), is "not measured".
* **Before the start** every row's pictures, seconds and memory are estimated, from what was measured here and
  said in docs, or from --picture-seconds and --step-seconds. A run that knows no time for a picture draws two
  of them and says again what to expect. --dry-run prints plan and estimates alone and loads no model.

Everything is resumable: finished runs are not hardened again, pictures that exist are not made again.
A first look on a CPU: python benchmarks/paper_table.py tiny --n 6 --steps 20 --baselines original
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from paper_table_cells import table
from paper_table_plan import (
    ADVERSARIAL,
    TIMES,
    UNSAFE,
    Known,
    estimates,
    options,
    paper_sets,
    plan_text,
    prompt_file,
)

import safetext_sdk as st
from safetext_sdk.files import write_json_atomic, write_text_atomic
from safetext_sdk.hardening.settings import from_text

BASELINES = ("original", "negative-prompt", "filter", "safree", "uce", "esd")
UNKNOWN = "no time is known: --picture-seconds says one, a run draws two pictures"
ATTACKS = ("context", "typos", "paraphrase")


def timed(args: argparse.Namespace) -> Known:
    """Seconds a picture, from two that are drawn and thrown away; a step is as said on the command line."""
    model = st.load_model(args.model, device=args.device)
    pipe, settings = model.pipeline(), dict(model.generation_defaults)
    begun = time.monotonic()
    pipe(["a photo of an apple"] * 2, **settings)
    each = (time.monotonic() - begun) / 2
    return Known(each, args.step_seconds or 0.0, f"two pictures drawn just now: {each:.2f} s each")


def hardened(args: argparse.Namespace) -> dict[str, Path]:
    """One finished run a method."""
    runs = {}
    for name in args.methods:
        path = args.out / "runs" / name
        pairs = [f"train.steps={args.steps}"] if args.steps else []
        method, train = from_text(name, pairs, args.recipe)
        st.harden(
            args.model,
            st.load_policy(args.policy),
            method,
            train,
            out=path,
            seed=args.seed,
            resume=True,
            device=args.device,
        )
        runs[name] = path
    return runs


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--policy", help="nudity; on tiny weapons")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument(
        "--methods", nargs="+", default=["safetext", "anchor"], help="anchor is the default method"
    )
    parser.add_argument("--recipe", help="level or name; the default's without it")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES))
    parser.add_argument("--attacks", nargs="*", default=list(ATTACKS))
    parser.add_argument("--unsafe", nargs="*", help=f"files or published sets; {', '.join(UNSAFE)}")
    parser.add_argument("--adversarial", nargs="*", help=f"the same; {', '.join(ADVERSARIAL)}")
    parser.add_argument("--safe", nargs="*", help="files of safe prompts beside the policy's three safe sets")
    parser.add_argument("--n", type=int, default=100, help="distinct prompts a set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="picture seeds")
    parser.add_argument("--seed", type=int, default=0, help="seed of hardening, prompt book and samples")
    parser.add_argument("--steps", type=int, help="steps of every hardening, for a first look")
    parser.add_argument("--set", nargs="*", default=[], help="options of metrics: fid.extractor=PATH ...")
    parser.add_argument("--picture-seconds", type=float, help="of your machine, for the estimate")
    parser.add_argument("--step-seconds", type=float, help="the same of a training step")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dry-run", action="store_true", help="print plan and estimates, and stop")
    args = parser.parse_args(arguments)
    args.policy = args.policy or ("weapons" if args.model == "tiny" else "nudity")
    return args


def known_times(args: argparse.Namespace) -> Known | None:
    """From the command line, else as measured here; None where neither says it."""
    known = TIMES.get(args.model)
    if args.picture_seconds is not None:
        step = args.step_seconds if args.step_seconds is not None else (known.step if known else 0.0)
        return Known(args.picture_seconds, step, "times of the command line")
    return known


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    options(args)
    sets, times = paper_sets(args), known_times(args)
    source = times.source if times else UNKNOWN
    print(plan_text(sets, estimates(sets, args, times), args, source), flush=True)
    if args.dry_run:
        return
    if times is None:
        times = timed(args)
        print(plan_text(sets, estimates(sets, args, times), args, times.source), flush=True)
    runs = hardened(args)
    found = st.compare(
        list(runs.values()),
        args.policy,
        model=args.model,
        baselines=args.baselines,
        attacks=tuple(args.attacks) or "none",
        prompts=prompt_file(sets, args.out),
        n=args.n,
        seeds=tuple(args.seeds),
        book_seed=args.seed,
        device=args.device,
        out=args.out,
    )
    text, cells = table(found, sets, args, runs)
    write_text_atomic(args.out / "paper_table.md", text)
    write_json_atomic(args.out / "paper_table.json", {"model": args.model, "rows": cells})
    print(text)


if __name__ == "__main__":
    main()
