"""The paper's table: its sets of prompts, and what every row of it will take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetext_sdk as st
from safetext_sdk.errors import PolicyError, UsageError
from safetext_sdk.files import write_text_atomic
from safetext_sdk.hardening.recipes import recipe_of, settled
from safetext_sdk.methods import METHODS
from safetext_sdk.metrics import METRICS
from safetext_sdk.models.catalogue import CATALOGUE, training_bytes
from safetext_sdk.prompts.splits import by_hash
from safetext_sdk.results.rows import ResultRow

Kind = Literal["unsafe", "adversarial", "safe"]
RATES, DISTANCES = ("nrr",), ("lpips", "fid", "ssim")
UNSAFE = ("i2p/sexual", "coprov2-test", "unlearndiffatk", "overt-unsafe")
ADVERSARIAL = ("mma", "ring-a-bell", "p4d")
POLICY_SAFE = ("safe", "safe_unseen", "borderline")
TEXTS = 3
"""Texts a prompt of each of these attacks."""
TINY_GROUPS: Mapping[str, tuple[str, ...]] = {
    "firearms": ("gun", "pistol", "rifle", "shotgun", "musket", "uzi", "cannon", "howitzer", "revolver"),
    "blades": ("knife", "dagger", "stiletto", "dirk", "sword", "axe", "hatchet", "mace", "trident", "blade"),
    "explosives": ("bomb", "explosive", "grenade", "dynamite", "tnt"),
    "thrown": ("bow", "arbalest", "shuriken", "star", "harpoon"),
}
"""Words of the unsafe prompts of the embedded model's world; the other prompts are in none of the groups."""


@dataclass(frozen=True)
class Known:
    """What was measured on one thread of a CPU: seconds a picture and a training step, and where that is
    said."""

    picture: float
    step: float
    source: str


TIMES: Mapping[str, Known] = {
    "tiny": Known(0.30, 124 / 170, "one thread of a CPU, docs/performance.md and docs/results.md")
}


@dataclass(frozen=True)
class PaperSet:
    """One set of prompts.

    Attributes:
        name: as the table calls it.
        kind: what its prompts are.
        rows: the set of the report that its rows are in; custom where prompts were brought.
        texts: its prompts, where they were brought.
        words: its prompts are those of ``rows`` that have one of these words.
        missing: why it cannot be had.
    """

    name: str
    kind: Kind
    rows: str
    texts: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    missing: str = ""

    def has(self, row: ResultRow) -> bool:
        """Whether a row is of this set."""
        if row.set != self.rows:
            return False
        if self.texts:
            return row.prompt in self.texts
        said = f" {(row.origin or row.prompt).lower()} "
        return not self.words or any(f" {word}" in said for word in self.words)


@dataclass(frozen=True)
class Estimate:
    """What a row of the table will take. None: not known."""

    name: str
    steps: int
    pictures: int
    seconds: float | None
    gigabytes: float | None


def brought(ref: str, kind: Kind, n: int, seed: int) -> PaperSet:
    """A set from a file or a published name: at most ``n`` prompts, drawn by hash."""
    from safetext_sdk.validation.own_prompts import PromptFile, load_prompts

    label: Literal["unsafe", "safe"] = "safe" if kind == "safe" else "unsafe"
    try:
        found = load_prompts(PromptFile(ref, label=label))
    except (PolicyError, UsageError, OSError) as error:
        return PaperSet(ref, kind, "custom", missing=str(error))
    texts = by_hash([p.prompt for p in found.prompts if p.label == label], seed, ref)[:n]
    return PaperSet(
        ref, kind, "custom", frozenset(texts), missing="" if texts else f"it has no {label} prompt"
    )


def paper_sets(args: argparse.Namespace) -> list[PaperSet]:
    """The sets of the table, those that cannot be had among them."""
    sets: list[PaperSet] = []
    given: list[tuple[Kind, Sequence[str] | None, Sequence[str]]] = [
        ("unsafe", args.unsafe, () if args.model == "tiny" else UNSAFE),
        ("adversarial", args.adversarial, () if args.model == "tiny" else ADVERSARIAL),
        ("safe", args.safe, ()),
    ]
    for kind, named, usual in given:
        sets += [brought(ref, kind, args.n, args.seed) for ref in (usual if named is None else named)]
        if named is None and args.model == "tiny" and kind == "unsafe":
            sets += [PaperSet(name, kind, "unsafe", words=words) for name, words in TINY_GROUPS.items()]
        if kind == "adversarial":
            sets += [PaperSet(f"attack {name}", kind, name) for name in args.attacks]
        if kind == "safe":
            sets += [PaperSet(name, kind, name) for name in POLICY_SAFE]
    return sets


def prompt_file(sets: Sequence[PaperSet], out: Path) -> Path | None:
    """All prompts that were brought as one file; a prompt of several sets is drawn once."""
    lines: dict[str, str] = {}
    for each in sets:
        label = "safe" if each.kind == "safe" else "unsafe"
        for text in sorted(each.texts):
            lines[text] = json.dumps({"prompt": text, "label": label}, ensure_ascii=False)
    if not lines:
        return None
    return write_text_atomic(out / "prompts.jsonl", "".join(line + "\n" for line in lines.values()))


def steps_of(method: str, args: argparse.Namespace) -> int:
    """Training steps of the recipe that the command line would take; recipes that follow the number of
    prompts say at least so many."""
    if args.steps:
        return int(args.steps)
    policy = st.load_policy(args.policy)
    recipe = recipe_of(method, args.model, args.recipe, concepts=len(policy.concepts))
    return settled(recipe, METHODS.get(method)(), None)[1].steps


def pictures_of(sets: Sequence[PaperSet], args: argparse.Namespace) -> int:
    """Pictures of one model: every prompt once a picture seed. The undefended model's are drawn once for all
    rows, with the controls of the attacks."""
    own = len({text for each in sets for text in each.texts})
    policy = args.n * (1 + len(POLICY_SAFE)) + 2 * max(10, args.n // 4)
    return (own + policy + TEXTS * args.n * len(args.attacks)) * len(args.seeds)


def gigabytes(args: argparse.Namespace, hardens: bool) -> float | None:
    """Memory of a row in GB (1e9 bytes), without activations: the weights that draw, or what hardening keeps
    if that is more. None where nobody knows the size of the model."""
    entry, folder = CATALOGUE.get(args.model), Path(args.model)
    if entry is not None and entry.folder:
        from importlib import import_module

        module, _, name = entry.folder.partition(":")
        folder = Path(str(getattr(import_module(module), name)()))
    weights = list(folder.rglob("*.safetensors")) if folder.is_dir() else []
    if not weights:
        return entry.memory_gb if entry is not None and hardens else None
    drawn = sum(p.stat().st_size for p in weights)
    trained = sum(
        training_bytes(p.stat().st_size // 4, "full", 4) for p in weights if "text_encoder" in p.parent.name
    )
    return max(drawn, trained if hardens else 0) / 1e9


def estimates(sets: Sequence[PaperSet], args: argparse.Namespace, times: Known | None) -> list[Estimate]:
    """One row a method and baseline, the undefended model first."""
    pictures, out = pictures_of(sets, args), []
    for name in [*args.baselines, *args.methods]:
        hardens = name in args.methods
        steps = steps_of(name, args) if hardens else 0
        # The undefended model draws the controls of the attacks as well.
        count = pictures if name != "original" else pictures + args.n * TEXTS * len(args.attacks)
        seconds = None if times is None else count * times.picture + steps * times.step
        out.append(Estimate(name, steps, count, seconds, gigabytes(args, hardens)))
    return out


def plan_text(
    sets: Sequence[PaperSet], rows: Sequence[Estimate], args: argparse.Namespace, source: str
) -> str:
    """Plan and estimates for a terminal."""
    lines = [f"{args.model}, policy {args.policy}, {args.n} prompts a set, picture seeds {list(args.seeds)}"]
    for each in sets:
        size = f"{len(each.texts)} prompts" if each.texts else "of the validation"
        lines.append(
            f"  {each.kind:<12} {each.name}: " + (f"not measured: {each.missing}" if each.missing else size)
        )
    for name in (*RATES, *DISTANCES):
        if why := unavailable(name, options(args)):
            lines.append(f"  metric       {name}: not measured: {why}")
    lines.append(f"estimated ({source}), learning of a baseline not included:")
    for row in rows:
        took = "time not known" if row.seconds is None else f"about {row.seconds / 60:,.1f} minutes"
        held = "memory not known" if row.gigabytes is None else f"at least {row.gigabytes:.2g} GB"
        steps = f"{row.steps:,} steps, " if row.steps else ""
        lines.append(f"  {row.name:<16} {steps}{row.pictures:,} pictures, {took}, {held}")
    if all(row.seconds is not None for row in rows):
        lines.append(f"  {'all':<16} about {sum(row.seconds or 0 for row in rows) / 60:,.1f} minutes")
    return "\n".join(lines)


def unavailable(name: str, given: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a metric cannot be taken at all; empty if it may be."""
    if name not in METRICS.names():
        return "this version has no such metric"
    if name in ("lpips", "fid") and not given.get(name):
        key = {"lpips": "weights", "fid": "extractor"}[name]
        return f"its weights were not named: --set {name}.{key}=PATH"
    return ""


def options(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """``--set fid.extractor=x.pt`` by metric."""
    out: dict[str, dict[str, Any]] = {}
    for pair in args.set:
        name, _, value = pair.partition("=")
        metric, _, option = name.partition(".")
        if not (value and option):
            raise UsageError(f"--set takes METRIC.OPTION=VALUE, not {pair!r}")
        out.setdefault(metric, {})[option] = value
    return out
