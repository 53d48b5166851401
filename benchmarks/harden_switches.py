"""The trainer's switches one on top of another, against a plain loop: the second table of `harden_speed`."""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

PAIRS = 6911
"""Unsafe prompts of an epoch, as the published DES counts them."""
EAGER: dict[str, Any] = {
    "read_every": 1,
    "buckets": 1,
    "working_weights": False,
    "cache_bf16": False,
    "compile": False,
}
HEAD = (
    "| encoder | row | whole steps: prompts/s | of the ceiling | / plain | default: prompts/s | / plain "
    "| epoch of 6,911 pairs, s | loss differs by | graphs |\n|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass
class PlainLoop:
    """What most people write, on the trainer's own encoder, optimiser and prompts."""

    trainer: Any
    optimizer: Any

    def step(self, step: int) -> None:
        from safetext_sdk.methods import Batch

        trainer, teacher, table = self.trainer, self.trainer.teacher, self.trainer.context.table
        whole = {key: parts["input_ids"].shape[1] for key, parts in table.tokens.items()}
        rows = trainer.rows(step)
        n = len(rows.unsafe)
        targets = teacher._run(np.concatenate([rows.anchor, rows.safe]), whole)
        tokens = table.pick(np.concatenate([rows.unsafe, rows.safe]), whole, teacher.device)
        with trainer.accelerator.autocast():
            pieces = trainer.student(tokens)
        halves = [{k: v[:n] for k, v in pieces.items()}, {k: v[n:] for k, v in pieces.items()}]
        wanted = [{k: v[:n] for k, v in targets.items()}, {k: v[n:] for k, v in targets.items()}]
        batch = Batch(
            rows,
            rows,
            *halves,
            original=lambda asked: wanted[0] if asked is rows.anchor else wanted[1],
            weights=dict.fromkeys(pieces, 1.0),
        )
        loss = trainer.method.loss(batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.trainable.values(), trainer.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        assert bool(torch.isfinite(loss))


def accelerator_of(precision: str, device: str) -> Any:
    """An accelerator of its own, as `harden` makes it."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    return Accelerator(cpu=device == "cpu", mixed_precision=precision)


@dataclass(frozen=True)
class Case:
    """What is timed: ``make`` gives a trainer of its own for some settings, without its outputs of the
    original."""

    make: Callable[[dict[str, Any], Path], Any]
    batch: int
    block: int
    blocks: int
    now: Callable[[], float]
    narrow: bool
    compile: bool
    rounds: int = 2


@dataclass(frozen=True)
class Timed:
    """Seconds a step, block by block, the losses by step, and graphs that were compiled."""

    blocks: list[float]
    losses: list[float]
    graphs: int = 0

    def __add__(self, later: Timed) -> Timed:
        """With the blocks of another round."""
        return Timed(self.blocks + later.blocks, self.losses, self.graphs + later.graphs)

    @property
    def step(self) -> float:
        """Seconds a step."""
        return statistics.median(self.blocks)


def rows(case: Case) -> dict[str, dict[str, Any]]:
    """Settings by the name of the row; each row has those of the rows before it."""
    steps: dict[str, dict[str, Any]] = {
        "ours, eager": EAGER,
        "+ no wait, buckets": {"read_every": case.block, "buckets": 8},
    }
    if case.narrow:
        steps["+ working weights"] = {"working_weights": True}
        steps["+ kept in bf16"] = {"cache_bf16": True}
    if case.compile:
        steps["+ compile"] = {"compile": True}
    out: dict[str, dict[str, Any]] = {}
    so_far: dict[str, Any] = {}
    for name, more in steps.items():
        so_far = {**so_far, **more}
        out[name] = so_far
    return out


def timed(case: Case, settings: dict[str, Any], plain: Callable[[Any, Any], Any] | None = None) -> Timed:
    """One round: blocks of steps, the first one left out.

    Args:
        case: what is timed.
        settings: of the trainer.
        plain: trainer and optimiser to one step of a plain loop, which then runs in the trainer's place.
    """
    from safetext_sdk.hardening.compiled import graphs_made

    steps = case.block * (case.blocks + 1)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = case.make({**settings, "steps": steps, "checkpoint_seconds": 1e9}, Path(folder))
        taken = [trainer.rows(step) for step in range(steps)]
        seen = np.unique(np.concatenate([part for r in taken for part in (r.anchor, r.safe)]))
        trainer.teacher.fill(seen, 1e12, 1e12)
        before = graphs_made() if settings["compile"] else 0
        mark = case.now()

        def watch(done: int, parts: dict[str, float]) -> None:
            nonlocal mark
            if done % case.block == 0:
                now = case.now()
                times.append((now - mark) / case.block)
                mark = now

        if plain is None:
            trainer.run(False, watch)
        else:
            trainer._fit(2**30)
            one = plain(trainer, trainer._optimizer())
            for step in range(steps):
                one(step)
                watch(step + 1, {})
        losses = [parts["loss"] for _, parts in trainer.progress.losses]
        graphs = graphs_made() - before if settings["compile"] else 0
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Timed(times[1:], losses, graphs)


def table(
    size: str, case: Case, plain: Callable[[Any, Any], Any], owed: float, work: float, peak: float
) -> list[str]:
    """Rows of one encoder, all timed by turns, so that load that comes and goes meets each of them.

    Args:
        size: the encoder, in words.
        case: what is timed.
        plain: see `timed`.
        owed: seconds a step of ours owes to computing the original's outputs beforehand.
        work: FLOP of one whole step of ours.
        peak: the machine's ceiling in FLOP/s.
    """
    prompts = 2 * case.batch
    wanted: dict[str, tuple[dict[str, Any], Callable[[Any, Any], Any] | None]] = {
        "plain": ({**EAGER, "whole_every": 1}, plain)
    }
    for name, settings in rows(case).items():
        wanted[f"{name}, whole"] = ({**settings, "whole_every": 1}, None)
        wanted[f"{name}, default"] = ({**settings, "whole_every": 4}, None)
    found: dict[str, Timed] = {}
    for _ in range(case.rounds):
        for key, given in wanted.items():
            again = timed(case, *given)
            found[key] = found[key] + again if key in found else again
    loop = found["plain"].step
    out = [f"| {size} | plain loop | {prompts / loop:.1f} | {work * 4 / 3 / loop / peak:.0%} | 1 | | | | | |"]
    eager = found["ours, eager, whole"].losses
    for name, settings in rows(case).items():
        whole, usual = found[f"{name}, whole"], found[f"{name}, default"]
        off = max(abs(a - b) / abs(b) for a, b in zip(whole.losses, eager, strict=True))
        epoch = PAIRS / case.batch * usual.step
        graphs = f"{whole.graphs} + {usual.graphs}" if settings["compile"] else ""
        out.append(
            f"| | {name} | {prompts / (whole.step + owed):.1f} | {work / whole.step / peak:.0%} | "
            f"**{loop / (whole.step + owed):.2f}** | {prompts / (usual.step + owed):.1f} | "
            f"{loop / (usual.step + owed):.2f} | {epoch:.1f} | {off:.1e} | {graphs} |"
        )
    return out
