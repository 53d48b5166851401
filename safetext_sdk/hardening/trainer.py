"""The loop: knows batches, methods by their interface, and nothing of prompts or files.

Ctrl-C is taken between two steps, so that a checkpoint is always a whole step; a second Ctrl-C stops at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InterruptedRun, ModelError, RunError, UsageError
from ..methods.base import Batch, Method
from ..models.families import Pieces, Tokens, piece_owner
from ..models.model import EncoderBundle
from . import checkpoints
from .schedule import rate_at, reads_whole, rows_at
from .settings import TrainConfig
from .teacher import PromptTable, Teacher, pick, read_lengths

Watch = Callable[[int, dict[str, float]], None]


@dataclass
class Trainer:
    """One hardening in memory.

    ``bundle``: the encoders in training. ``trainable``: parameters by name. ``rates``: peak step size by
    parameter name.
    ``weights``: how much each
    piece counts (0 for those of untouched encoders). ``masked``: whether pad positions are left out (family
    ``plain``).
    """

    bundle: EncoderBundle
    teacher: Teacher
    table: PromptTable
    method: Method[Any]
    config: TrainConfig
    seed: int
    folder: Path
    accelerator: Any
    trainable: dict[str, nn.Parameter]
    rates: dict[str, float]
    untouched: frozenset[str] = frozenset()
    masked: bool = False
    progress: checkpoints.Progress = field(default_factory=checkpoints.Progress)
    micro: int = 0

    def run(self, resume: bool, watch: Watch) -> None:
        """Train to the end, or raise `InterruptedRun` with a checkpoint on disk."""
        optimizer = self._optimizer()
        if resume:
            self.progress = checkpoints.load_last(self.folder, self.trainable, optimizer)
        if self.progress.done == 0:
            self.method.start(self.trainable, self.seed)
        module, optimizer = self.accelerator.prepare(self.bundle, optimizer)
        inner = optimizer.optimizer
        saved = time.monotonic()
        with _between_steps() as stop:
            while self.progress.done < self.config.steps:
                step = self.progress.done
                for group in inner.param_groups:
                    group["lr"] = group["peak"] * rate_at(step, self.config)
                parts = self._step(module, step)
                self.accelerator.clip_grad_norm_(self.trainable.values(), self.config.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if not all(np.isfinite(v) for v in parts.values()):
                    raise RunError(f"the loss is not finite at step {step}; a smaller learning_rate helps")
                self.progress.done = step + 1
                self.progress.losses.append([step, {name: round(v, 6) for name, v in parts.items()}])
                watch(step + 1, parts)
                late = time.monotonic() - saved > self.config.checkpoint_seconds
                due = self.config.checkpoint_steps and (step + 1) % self.config.checkpoint_steps == 0
                if (late or due or stop.is_set()) and self.progress.done < self.config.steps:
                    self._save(inner)
                    saved = time.monotonic()
                if stop.is_set() and self.progress.done < self.config.steps:
                    raise InterruptedRun(
                        f"stopped after step {step + 1} of {self.config.steps}; the same command with "
                        ""
                        "--resume goes on"
                    )

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        if self.accelerator.is_main_process:
            checkpoints.save(self.folder, self.progress, self.trainable, optimizer)
        self.accelerator.wait_for_everyone()

    def _optimizer(self) -> torch.optim.Optimizer:
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.trainable.items():
            groups.setdefault(self.rates[name], []).append(parameter)
        fused = all(p.device.type in ("cpu", "cuda") for p in self.trainable.values())
        return torch.optim.AdamW(
            [{"params": params, "peak": rate} for rate, params in groups.items()],
            lr=1.0,
            betas=(0.9, 0.99),
            weight_decay=self.config.weight_decay,
            fused=fused,
        )

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(unsafe, anchor, safe) rows of a step, over all processes. The empty prompt and one negative prompt
        are always among the safe ones."""
        count = self.config.batch_size
        chosen = rows_at(step, count, len(self.table.unsafe), self.seed, 1)
        total = max(1, round(count * self.config.safe_share))
        fixed = [*self.table.fixed]
        if total > 3 and len(self.table.negative):
            fixed.append(self.table.negative[rows_at(step, 1, len(self.table.negative), self.seed, 3)[0]])
        fixed = fixed[: total if not len(self.table.safe) else total // 2]
        walked = (
            rows_at(step, total - len(fixed), len(self.table.safe), self.seed, 2)
            if len(self.table.safe)
            else np.zeros(0, np.int64)
        )
        safe = np.concatenate([np.array(fixed, dtype=np.int64), self.table.safe[walked]])
        return self.table.unsafe[chosen], self.table.anchor[chosen], safe

    def other_anchors(self, step: int, anchor: np.ndarray) -> np.ndarray:
        """Rows of as many further anchors as the method wants at this step, over all processes; none of those
        in ``anchor``."""
        if not self.method.other_anchors:
            return np.zeros(0, np.int64)
        every = np.unique(self.table.anchor)
        chosen: np.ndarray = every[
            rows_at(step, min(self.method.other_anchors, len(every)), len(every), self.seed, 4)
        ]
        further: np.ndarray = chosen[~np.isin(chosen, anchor)]
        return further

    def _step(self, module: nn.Module, step: int) -> dict[str, float]:
        """Gradients of one step; on a GPU that runs out of memory, with half as many prompts at once, until
        it fits."""
        if not self.micro:
            self.micro = self.config.micro_batch or 2**30
        while True:
            try:
                return self._accumulate(module, step)
            except torch.OutOfMemoryError as error:
                for parameter in self.trainable.values():
                    parameter.grad = None
                torch.cuda.empty_cache()
                at_once = min(self.micro, self.config.batch_size)
                if at_once <= 1 or self.accelerator.num_processes > 1:
                    raise ModelError(
                        "out of memory; what helps, in this order: lora=True, "
                        ""
                        ""
                        ""
                        ""
                        "gradient_checkpointing=true, cache_gb=0, a smaller "
                        "micro_batch or batch_size"
                    ) from error
                self.micro = at_once // 2

    def _accumulate(self, module: nn.Module, step: int) -> dict[str, float]:
        unsafe, anchor, safe = self.rows(step)
        further = self.other_anchors(step, anchor)
        rows = np.concatenate([unsafe, safe, further] + ([anchor] if self.method.needs_anchor else []))
        lengths = read_lengths(
            self.table,
            rows,
            self.bundle.family,
            whole=reads_whole(step, self.config),
            margin=self.config.prefix_margin,
        )
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        unsafe, anchor, safe = unsafe[rank::world], anchor[rank::world], safe[rank::world]
        chunks = max(1, -(-len(unsafe) // self.micro))
        totals: dict[str, float] = {}
        for i in range(chunks):
            u, a, s = (np.array_split(part, chunks)[i] for part in (unsafe, anchor, safe))
            with self.accelerator.no_sync(module) if i < chunks - 1 else _nothing():
                parts = self._losses(module, u, a, s, further, lengths)
                self.accelerator.backward(parts["loss"] * (len(u) / len(unsafe)))
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach()) * len(u) / len(unsafe)
        if world > 1:
            names = sorted(totals)
            mean = self.accelerator.reduce(
                torch.tensor([totals[n] for n in names], device=self.accelerator.device), "mean"
            )
            totals = dict(zip(names, mean.tolist(), strict=True))
        return totals

    def _losses(
        self,
        module: nn.Module,
        u: np.ndarray,
        a: np.ndarray,
        s: np.ndarray,
        further: np.ndarray,
        lengths: dict[str, int],
    ) -> dict[str, Tensor]:
        both = np.concatenate([u, s])
        tokens = pick(self.table, both, lengths, self.teacher.device)
        with self.accelerator.autocast():
            pieces: Pieces = module(tokens)
        weights = self._weights(pieces)
        n, method = len(u), self.method
        head: Tokens = {k: {q: t[:n] for q, t in v.items()} for k, v in tokens.items()}
        tail: Tokens = {k: {q: t[n:] for q, t in v.items()} for k, v in tokens.items()}
        batch = Batch(
            unsafe={k: v[:n] for k, v in pieces.items()},
            unsafe_original=self.teacher.read(u, lengths) if method.needs_original else {},
            anchor=self.teacher.read(a, lengths) if method.needs_anchor else {},
            safe={k: v[n:] for k, v in pieces.items()},
            safe_original=self.teacher.read(s, lengths),
            unsafe_mask=self._mask(head, a, lengths),
            safe_mask=self._mask(tail, None, lengths),
            weights=weights,
            other_anchors=self.teacher.read(further, lengths, {n for n, w in weights.items() if w})
            if len(further)
            else {},
        )
        return method.loss(batch)

    def _weights(self, pieces: Pieces) -> dict[str, float]:
        """How much each piece counts: nothing of untouched encoders; sequences by ``sequence_weight``, pooled
        outputs 1."""
        sequence = self.config.sequence_weight
        weights = {
            name: float(piece_owner(name) not in self.untouched)
            * (1.0 if name.endswith("_pooled") else sequence)
            for name in pieces
        }
        if not sum(weights.values()):
            raise UsageError(
                "sequence_weight 0 leaves nothing to train: the encoders in training have no pooled "
                "output that is read"
            )
        return weights

    def _mask(self, tokens: Tokens, anchor: np.ndarray | None, lengths: dict[str, int]) -> dict[str, Tensor]:
        """Positions that count. Where a prompt is compared with its anchor, only those that both have."""
        if not self.masked:
            return {}
        masks = {name: parts["attention_mask"] for name, parts in tokens.items()}
        if anchor is not None and self.method.needs_anchor:
            other = pick(self.table, anchor, lengths, self.teacher.device)
            masks = {name: mask * other[name]["attention_mask"] for name, mask in masks.items()}
        return masks


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _between_steps() -> Iterator[threading.Event]:
    """Turn Ctrl-C and a polite kill into an event that the loop looks at; the second one acts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handler(number: int, frame: Any) -> None:
        stop.set()
        for key, old in before.items():
            signal.signal(key, old)

    for number in before:
        signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
