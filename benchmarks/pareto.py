"""Safety against what is kept, at several strengths: python benchmarks/pareto.py --out runs/pareto

Hardens MODEL against POLICY with each method at each strength, compares all of them and the baselines with
the code of `safetext compare`, and writes:

* ``index.html``, ``comparison.md`` and ``comparison.json`` as `safetext compare` does;
* ``pareto.svg``: one line a method through its strengths; filled marks for plain prompts, hollow ones for the
  worst attack; beside each name the processor's seconds;
* ``nrr.svg``: the curve of arXiv 2502.20623 (share of unsafe pictures removed against the change of safe
  pictures at equal seeds) for every method that was run at more than one strength;
* ``pareto.md``: both as one table, with the seconds that each hardening took, and the processor's (those of
  all its threads): on a machine that others use too, only these can be compared.

A strength is a setting on top of the recipe of the command line; nothing else is set here. Points that differ
in `train.extent` alone share one training: the lesser ones are its weights, moved part of the way back as the
trainer does it. `--points METHOD:SETTING` takes other settings than the table's; `--trained METHOD=RUN` moves
the points that are an extent alone from a run that is finished. Everything is resumable: finished runs are
not hardened again, pictures that exist are not made again. `--device cuda` runs on a GPU.
A first look: --methods anchor --n 20 --attack-n 10 --attacks context --baselines original
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetext_sdk as st
from safetext_sdk.attacks import ATTACKS, Attack
from safetext_sdk.attacks.sets import choose
from safetext_sdk.comparison.entries import ComparedEntry, Comparison
from safetext_sdk.comparison.pages import TITLES
from safetext_sdk.comparison.pareto import Point, Value, pareto_svg, points_of
from safetext_sdk.files import write_json_atomic, write_text_atomic
from safetext_sdk.hardening.settings import from_text
from safetext_sdk.hardening.trainable import scale_change
from safetext_sdk.metrics import SHARE
from safetext_sdk.models import HardenedModel, load_model
from safetext_sdk.models.writing import round_to_stored, write_encoder
from safetext_sdk.validation.set_sizes import SIZED

STRENGTHS: dict[str, tuple[str, ...]] = {
    "anchor": ("train.extent=0.4", "train.extent=0.7", "train.extent=1.0", "method.push=0.5"),
    "safetext": tuple(f"method.distance=relative method.strength={x}" for x in (0.15, 0.5, 1.5)),
    "des": ("train.extent=0.4", "train.extent=0.7", "train.extent=1.0"),
    "sage": ("train.extent=0.4", "train.extent=0.7", "train.extent=1.0"),
    "adversarial": ("train.extent=0.4", "train.extent=0.7", "train.extent=1.0"),
}
"""Method: its settings a point, from weak to strong; the last one is its label. `extent` moves the weights
part of the way to what was trained."""
CHOSEN = ("context", "gcg-encoder")
EXTENT = "train.extent="
BASELINES = ("original", "negative-prompt", "filter", "safree", "uce", "esd")


@dataclass(frozen=True)
class Made:
    """One hardening: its run folder, the method and setting of it, and what it took; ``processor`` are the
    seconds of all threads of the processor, None where a part of them is not known."""

    path: Path
    method: str
    setting: str
    seconds: float
    processor: float | None = None

    @property
    def label(self) -> str:
        """As plots call it: ``anchor extent=0.7``."""
        return f"{self.method} {self.setting.split()[-1].partition('.')[2]}"

    @property
    def label_with_cost(self) -> str:
        """``anchor extent=0.7, 231 s``: the processor's seconds, where they are known."""
        return self.label if self.processor is None else f"{self.label}, {self.processor:.0f} s"


def harden(method: str, setting: str, args: argparse.Namespace) -> Made:
    """Harden, or go on, or take what is finished."""
    pairs = setting.split()
    extent = next((float(pair.removeprefix(EXTENT)) for pair in pairs if pair.startswith(EXTENT)), 1.0)
    alone = all(pair.startswith(EXTENT) for pair in pairs)
    if alone and (run := trained(method, args)) is not None:
        return part_of(run[0], setting, extent / run[1], args)
    if extent != 1:
        whole = " ".join(f"{EXTENT}1.0" if pair.startswith(EXTENT) else pair for pair in pairs)
        return part_of(harden(method, whole, args), setting, extent, args)
    path, clock = folder_of(method, setting, args)
    config, train = from_text(method, [*pairs, *([f"train.steps={args.steps}"] if args.steps else [])], None)
    begun, used, anew = time.monotonic(), time.process_time(), not path.exists()
    hardened = st.harden(
        args.model,
        st.load_policy(args.policy),
        config,
        train,
        out=path,
        seed=args.seed,
        resume=True,
        device=args.device,
    )
    if not clock.is_file():
        processor = round(time.process_time() - used, 1) if anew else None
        write_json_atomic(
            clock, {"seconds": took(hardened, time.monotonic() - begun), "processor": processor}
        )
    return Made(path, method, setting, **json.loads(clock.read_text()))


def trained(method: str, args: argparse.Namespace) -> tuple[Made, float] | None:
    """The run of `--trained`, if it is one of this method, and its extent."""
    paths = dict(pair.split("=", 1) for pair in args.trained)
    if method not in paths:
        return None
    path = Path(paths[method])
    manifest = json.loads((path / "manifest.json").read_text())
    if (manifest["method"], manifest["seed"]) != (method, args.seed):
        raise SystemExit(f"--trained {method}={path}: it is of {manifest['method']}, seed {manifest['seed']}")
    extent = manifest["config"]["train"]["extent"]
    return Made(path, method, f"{EXTENT}{extent}", float(manifest["training"]["seconds"])), extent


def took(hardened: HardenedModel, here: float) -> float:
    """Seconds of a hardening over all its parts, as its manifest has them; else those spent here."""
    seconds = hardened.run.manifest["training"].get("seconds")
    return round(here if seconds is None else float(seconds), 1)


def part_of(whole: Made, setting: str, extent: float, args: argparse.Namespace) -> Made:
    """A finished hardening, moved to ``extent`` of its way: encoders in a folder of their own, with no
    record of a run, because none was made for them."""
    path, clock = folder_of(whole.method, setting, args)
    if not clock.is_file():
        original = load_model(args.model, device="cpu", precision="fp32")
        hardened = load_model(whole.path, device="cpu", precision="fp32")
        for name, encoder in hardened.encoders.items():
            files = original.layout.encoders[name]
            scale_change(encoder, original.encoders[name], extent)
            round_to_stored(encoder, files)
            write_encoder(encoder, files, path / name)
        write_json_atomic(clock, {"seconds": whole.seconds, "processor": whole.processor})
    return Made(path, whole.method, setting, whole.seconds, whole.processor)


def folder_of(method: str, setting: str, args: argparse.Namespace) -> tuple[Path, Path]:
    """Where a point lies, and the file that says how long it took."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{method}-{setting}-s{args.seed}")
    return args.out / "runs" / name, args.out / "runs" / f"{name}.seconds.json"


def sizes(args: argparse.Namespace) -> dict[str, int] | None:
    """Prompts by set: those that the table and both plots read, and no others; None = as planned."""
    if args.n is None and args.attack_n is None:
        return None
    known = {"unsafe": args.n, "safe": args.n, "attacked": args.attack_n or args.n}
    return {name: known.get(name) or 0 for name in SIZED}


def attacks_of(args: argparse.Namespace) -> list[Attack[Any]]:
    """The attacks, with the budget and the settings that were asked for."""
    given: dict[str, dict[str, int]] = {}
    for pair in args.set:
        where, _, value = pair.partition("=")
        name, _, field = where.partition(".")
        given.setdefault(name, {})[field] = int(value)
    made = choose(args.attacks, args.budget)
    if unknown := set(given) - {attack.name for attack in made}:
        raise SystemExit(f"--set {sorted(unknown)[0]}: no such attack among --attacks")
    return [
        ATTACKS.get(a.name).for_budget(args.budget, **given[a.name]) if a.name in given else a for a in made
    ]


def lines_of(found: Comparison, made: Sequence[Made]) -> list[Point]:
    """The points of a comparison; strengths of one method are one line."""
    methods = {each.path.name: each for each in made}
    out = []
    for point in points_of(found):
        each = methods.get(point.label)
        named = {"label": each.label_with_cost, "group": each.method} if each else {}
        out.append(replace(point, **named))
    return out


def nrr_points(found: Comparison, made: Sequence[Made]) -> list[Point]:
    """Per entry: 1 - change of safe pictures (x) against NRR (y); points without bounds, as in the paper."""
    methods = {each.path.name: each for each in made}
    out = []
    for entry in found.entries:
        each, figures = methods.get(entry.name), entry.figures
        if each is not None and figures.removed is not None and figures.change is not None:
            removed, same = max(0.0, figures.removed), 1 - figures.change
            values = Value(same, same, same), Value(removed, removed, removed)
            out.append(Point(each.label, *values, group=each.method))
    return out


def row(entry: ComparedEntry, attacks: Sequence[str], made: Made | None) -> str:
    """One line of ``pareto.md``."""
    clocks = (made.seconds, made.processor) if made else (entry.cost.learning, None)
    figures = entry.figures
    shown = [figures.unsafe, *(figures.attacks.get(name) for name in attacks), figures.kept]
    shares = [SHARE.bounds(f.value, f.lower, f.upper, f.n) if f is not None else "–" for f in shown]
    numbers = [
        SHARE.write(figures.removed),
        "–" if figures.change is None else f"{figures.change:.3f}",
        *("–" if seconds is None else f"{seconds:.0f} s" for seconds in clocks),
    ]
    return "| " + " | ".join([entry.name, *shares, *numbers]) + " |"


def table(found: Comparison, made: Sequence[Made]) -> str:
    """``pareto.md``."""
    runs = {each.path.name: each for each in made}
    attacks = [f"unsafe, {name}" for name in found.attacks]
    head = ["", "unsafe", *attacks, "kept", "NRR", "change of safe pictures", "made in", "processor"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [row(e, found.attacks, runs.get(e.name)) for e in found.entries]
    return "\n".join(lines) + "\n"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/pareto"))
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--methods", nargs="+", default=None, help="all that are installed and listed here")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES))
    parser.add_argument("--attacks", nargs="*", default=list(CHOSEN))
    parser.add_argument("--points", nargs="+", metavar="METHOD:SETTING", help="these, not the table's")
    parser.add_argument(
        "--trained",
        nargs="*",
        default=[],
        metavar="METHOD=RUN",
        help="finished; extents are moved from it",
    )
    parser.add_argument("--budget", choices=["paper", "small"], default="paper", help="of searches")
    parser.add_argument("--set", nargs="*", default=[], metavar="ATTACK.SETTING=N", help="of an attack")
    parser.add_argument("--n", type=int, help="unsafe and safe prompts, no other set; as planned without it")
    parser.add_argument("--attack-n", type=int, help="unsafe prompts that attacks start from; as --n")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="picture seeds")
    parser.add_argument("--seed", type=int, default=0, help="seed of hardening and of the prompt book")
    parser.add_argument("--steps", type=int, help="steps of every hardening, for a first look")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    from safetext_sdk.methods import METHODS

    args = parsed(arguments)
    methods = args.methods or [name for name in STRENGTHS if name in METHODS.names()]
    points = [(method, setting) for method in methods for setting in STRENGTHS[method]]
    if args.points:
        points = [(method, setting) for method, _, setting in (each.partition(":") for each in args.points)]
    made = [harden(method, setting, args) for method, setting in points]
    found = st.compare(
        [each.path for each in made],
        args.policy,
        model=args.model,
        baselines=args.baselines,
        attacks=attacks_of(args),
        n=sizes(args),
        seeds=tuple(args.seeds),
        device=args.device,
        out=args.out,
    )
    text = table(found, made)
    write_text_atomic(args.out / "pareto.md", text)
    write_text_atomic(args.out / "pareto.svg", pareto_svg(lines_of(found, made), *TITLES[found.tier]))
    if curve := nrr_points(found, made):
        titles = ("1 - mean absolute change of safe pictures", "unsafe pictures removed (NRR)")
        write_text_atomic(args.out / "nrr.svg", pareto_svg(curve, *titles))
    print(text)


if __name__ == "__main__":
    main()
