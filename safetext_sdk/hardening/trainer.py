"""The loop: knows batches, methods by their interface, and nothing of files but checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..device import on_device
from ..errors import InterruptedRun, ModelError, UsageError
from ..methods.base import Method
from ..methods.batch import Batch, Masks, StepInputs
from ..methods.context import MethodContext
from ..methods.prompt_table import StepRows
from ..methods.sampling import mixed_at, rows_at
from ..models.families import Pieces, Tokens
from ..processes import Alone, Team
from . import checkpoints
from .averaging import TailMean
from .compiled import Compiled, compiled
from .gradients import backward
from .losses import Losses, finite
from .settings import TrainConfig
from .stopping import between_steps
from .teacher import BATCH, Teacher, read_lengths
from .trainable import Student
from .working_weights import WorkingWeights

Watch = Callable[[int, dict[str, float]], None]
_ALL = 2**30


@dataclass
class Trainer:
    """One hardening in memory.

    ``student``: the encoders in training. ``trainable``: their parameters by name. ``rates``: peak step size
    by parameter name. ``weights``: how much each piece counts (0 for those of untouched encoders).
    ``masked``: whether pad positions are left out. ``micro``: prompts that go through at once; 0 = all.
    ``begun``: when this part of the run began, on the monotonic clock. ``team``: the processes that train
    together.
    """

    student: Student
    teacher: Teacher
    context: MethodContext
    method: Method[Any]
    config: TrainConfig
    folder: Path
    accelerator: Any
    trainable: dict[str, nn.Parameter]
    rates: dict[str, float]
    weights: dict[str, float]
    masked: bool = False
    progress: checkpoints.Progress = field(default_factory=checkpoints.Progress)
    micro: int = 0
    begun: float = field(default_factory=time.monotonic)
    team: Team = field(default_factory=Alone)

    def __post_init__(self) -> None:
        processes: int = self.accelerator.num_processes
        self.pace = self.config.pace(self.teacher.device, self.teacher.autocast, processes)
        if self.pace.working_weights and processes > 1:
            raise UsageError("train.working_weights needs one process: gradients would be summed in bf16")
        self._losses = Losses()
        self._working: WorkingWeights | None = None
        self._compiled: Compiled | None = None

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, with earlier parts up to their last checkpoint."""
        return round(self.progress.seconds + time.monotonic() - self.begun, 3)

    def prepare(self) -> None:
        """What comes before the first step: outputs of the original that every step reads, and what the
        method builds."""
        table = self.context.table
        self.teacher.keep(np.concatenate([table.fixed, table.negative]), 2)
        self.method.prepare(self.context)
        if self.method.state() and self.accelerator.num_processes > 1:
            raise UsageError("this method's settings keep a state from step to step: train in one process")

    def run(self, resume: bool, watch: Watch) -> None:
        """Train to the end, or raise `InterruptedRun` with a checkpoint on disk. `prepare` comes first."""
        optimizer = self._optimizer()
        average = TailMean.over(self.config.average, self.config.steps)
        if resume:
            self.progress = checkpoints.load_last(self.folder, self.trainable, optimizer)
            if state := checkpoints.method_state(self.folder):
                self.method.restore(state)
            if average is not None:
                kept = checkpoints.average(self.folder)
                average.restore(self.progress.done, kept, self.trainable)
        if self.progress.done == 0:
            self.method.start(self.trainable, self.context.seed)
        self._fit(self.progress.micro or self.config.micro_batch or _ALL)
        through = self.stepped()
        module, optimizer = self.accelerator.prepare(through, optimizer)
        inner = optimizer.optimizer
        saved = time.monotonic()
        with between_steps() as stop, self._compiling(through):
            while self.progress.done < self.config.steps:
                step = self.progress.done
                for group in inner.param_groups:
                    group["lr"] = group["peak"] * self.config.rate_at(step)
                if self._compiled is not None:
                    self._compiled.step_begins()
                self._losses.add(step, self._step(module, step))
                self.accelerator.clip_grad_norm_(self.trainable.values(), self.config.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if average is not None:
                    average.add(step, self.trainable)
                if self._working is not None:
                    self._working.refresh()
                self.progress.done = step + 1
                last = self.progress.done == self.config.steps
                if len(self._losses) >= self.pace.read_every or last:
                    self._read_losses(watch)
                late = time.monotonic() - saved > self.config.checkpoint_seconds
                due = self.config.checkpoint_steps and (step + 1) % self.config.checkpoint_steps == 0
                # Clocks and signals differ between processes, and all must turn to the checkpoint at once.
                stopped, save = self.team.anyone(stop.is_set(), bool(late or due))
                if (save or stopped) and not last:
                    self._read_losses(watch)
                    self._save(inner, average)
                    saved = time.monotonic()
                if stopped and not last:
                    raise InterruptedRun(
                        f"stopped after step {step + 1} of {self.config.steps}; the same command with "
                        "--resume goes on"
                    )
        if average is not None:
            average.put(self.trainable)

    def stepped(self) -> Student:
        """The module that goes through the steps, as the weights are now."""
        if self.pace.working_weights:
            self._working = WorkingWeights(self.student)
            return self._working.module
        return self.student

    @contextmanager
    def _compiling(self, through: Student) -> Iterator[None]:
        if not self.config.compile:
            yield
            return
        with compiled(through, self.teacher.device) as self._compiled:
            self._fit(self.micro)
            yield
        self._compiled = None

    def _read_losses(self, watch: Watch) -> None:
        """Record and show the losses that nobody has read.

        Raises:
            RunError: one is not finite; those of the steps before it are recorded.
        """
        for step, parts in finite(self._losses.read()):
            self.progress.losses.append([step, {name: round(v, 6) for name, v in parts.items()}])
            watch(step + 1, parts)

    def _save(self, optimizer: torch.optim.Optimizer, average: TailMean | None) -> None:
        if self.accelerator.is_main_process:
            now = replace(self.progress, seconds=self.seconds)
            states = checkpoints.States(self.method.state(), average.mean if average is not None else {})
            checkpoints.save(self.folder, now, self.trainable, optimizer, states)
        self.accelerator.wait_for_everyone()

    def _optimizer(self) -> torch.optim.Optimizer:
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.trainable.items():
            groups.setdefault(self.rates[name], []).append(parameter)
        fused = all(p.device.type in ("cpu", "cuda") for p in self.trainable.values())
        return torch.optim.AdamW(
            [{"params": params, "peak": rate} for rate, params in groups.items()],
            lr=1.0,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay,
            fused=fused,
        )

    def rows(self, step: int) -> StepRows:
        """The prompts of a step, over all processes. The empty prompt and one negative prompt are always
        among the safe ones."""
        table, seed = self.context.table, self.context.seed
        size = self.config.batch_size
        chosen = (
            mixed_at(step, size, table.pair_parts, seed, 1)
            if table.pair_parts
            else rows_at(step, size, len(table.unsafe), seed, 1)
        )
        total = self.config.safe_size
        fixed = [*table.fixed]
        if total > 3 and len(table.negative):
            fixed.append(table.negative[rows_at(step, 1, len(table.negative), seed, 3)[0]])
        fixed = fixed[: total if not len(table.safe) else total // 2]
        walked = np.zeros(0, np.int64)
        if table.safe_parts:
            walked = mixed_at(step, total - len(fixed), table.safe_parts, seed, 2)
        elif len(table.safe):
            walked = table.safe[rows_at(step, total - len(fixed), len(table.safe), seed, 2)]
        safe = np.concatenate([np.array(fixed, dtype=np.int64), walked])
        return StepRows.of(table, step, chosen, safe)

    def lengths(self, everyone: StepRows) -> dict[str, int]:
        """How many positions of each encoder a step reads."""
        rows = np.concatenate([everyone.unsafe, everyone.safe, self.method.compared_rows(everyone)])
        return read_lengths(
            self.context.table,
            rows,
            self.context.family.name,
            whole=self.config.reads_whole(everyone.step),
            margin=self.config.prefix_margin,
            buckets=self.pace.buckets,
        )

    def _fit(self, micro: int) -> None:
        """Let at most ``micro`` prompts go through at once, in training and for the original."""
        self.micro = micro
        self.teacher.at_once = min(BATCH, micro)
        if self._compiled is not None:
            self._compiled.choose(whole=micro >= _ALL)

    def _step(self, module: nn.Module, step: int) -> dict[str, torch.Tensor]:
        """Gradients of one step; on a GPU that runs out of memory, with half as many prompts at once, until
        it fits."""
        while True:
            try:
                return self._gradients(module, step)
            except torch.OutOfMemoryError as error:
                for parameter in self.trainable.values():
                    parameter.grad = None
                if self._working is not None:
                    self._working.forget()
                torch.cuda.empty_cache()
                at_once = min(self.micro, self.config.batch_size + self.config.safe_size)
                if at_once <= 1 or self.accelerator.num_processes > 1:
                    raise ModelError(
                        "out of memory; what helps, in this order: lora=True, "
                        "train.gradient_checkpointing=true, train.cache_gb=0, a smaller train.micro_batch or "
                        "train.batch_size"
                    ) from error
                self._fit(at_once // 2)
                self.progress.micro = self.micro  # a resumed run goes on with the same

    def _gradients(self, module: nn.Module, step: int) -> dict[str, torch.Tensor]:
        everyone, world = self.rows(step), self.accelerator.num_processes
        lengths = self.lengths(everyone)
        mine = everyone.share(self.accelerator.process_index, world)
        table, device = self.context.table, self.teacher.device
        inputs = self.method.inputs(
            StepInputs(mine, table.pick(mine.unsafe, lengths, device), table.pick(mine.safe, lengths, device))
        )

        def loss(pieces: Pieces) -> dict[str, torch.Tensor]:
            return self.method.loss(self._batch(everyone, inputs, lengths, pieces))

        collect = {} if self._working is None else {"collect": self._working.collect}
        parts = backward(module, inputs, loss, self.micro, self.accelerator, **collect)
        parts = {name: value.detach() for name, value in parts.items()}
        if world > 1:
            names = sorted(parts)
            mean = self.accelerator.reduce(torch.stack([parts[n].float() for n in names]), "mean")
            parts = dict(zip(names, mean.unbind(), strict=True))
        return parts

    def _batch(
        self, everyone: StepRows, inputs: StepInputs, lengths: dict[str, int], pieces: Pieces
    ) -> Batch:
        """The step as the method sees it; the original's outputs are read when they are asked for."""
        n = len(inputs.rows.unsafe)
        m = n + len(inputs.rows.safe)
        table, device = self.context.table, self.teacher.device
        counts = None
        if table.importance is not None:
            counts = on_device(torch.from_numpy(table.importance[inputs.rows.concept]), device)
        counted = {name for name, weight in self.weights.items() if weight}
        return Batch(
            rows=inputs.rows,
            everyone=everyone,
            unsafe={k: v[:n] for k, v in pieces.items()},
            safe={k: v[n:m] for k, v in pieces.items()},
            extra={k: v[m:] for k, v in pieces.items()} if inputs.extra else {},
            original=lambda rows: self.teacher.read(rows, lengths, counted),
            weights=self.weights,
            unsafe_mask=self._mask(inputs.unsafe),
            safe_mask=self._safe_mask(inputs, lengths),
            empty=table.fixed[:1],
            mask=lambda rows: self._mask(table.pick(rows, lengths, device)),
            importance=counts,
        )

    def _safe_mask(self, inputs: StepInputs, lengths: dict[str, int]) -> Masks:
        """Where a safe prompt counts; of one that is kept as another, where both have a position."""
        mask, kept_as = self._mask(inputs.safe), inputs.rows.kept_as
        if not mask or kept_as is None:
            return mask
        other = self._mask(self.context.table.pick(kept_as, lengths, self.teacher.device))
        return {name: m * other[name] for name, m in mask.items()}

    def _mask(self, tokens: Tokens) -> Masks:
        """Positions that count, where not all do."""
        return self.context.family.masks(tokens) if self.masked else {}
