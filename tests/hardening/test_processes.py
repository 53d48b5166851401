"""Two processes train like one (``accelerate launch``)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.hardening_case import POLICY, run
from support.method_case import trainer_of
from support.minis import build_plain_bert, build_sd1, build_sdxl

from safetext_sdk.errors import InterruptedRun
from safetext_sdk.methods import Anchor
from safetext_sdk.models.run_folder import RunFolder

SUPPORT = Path(__file__).parents[1] / "support"


def launched(case: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script of tests/support in two processes."""
    # --cpu would start one process whatever --num_processes says; --multi_gpu starts them all, and each finds
    # that it is on a CPU.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    launch += ["--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--num_cpu_threads_per_process", "1", "--main_process_port", "0"]
    return subprocess.run(
        [*launch, str(SUPPORT / case), *arguments],
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sd1", "sdxl, clocks that differ"])
def test_two_processes_have_the_loss_curve_of_one(case: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    model, policy, out = (str(tmp_path / name) for name in ("model", "policy.yaml", "run2"))
    if case == "sd1":
        build_sd1(tmp_path / "model")
        done = launched("hardening_case.py", model, policy, out, "8", "new", "0")
    else:
        build_sdxl(tmp_path / "model")
        done = launched("clocks_case.py", model, policy, out)
    assert done.returncode == 0, done.stderr[-2000:]
    run(tmp_path / "model", tmp_path / "policy.yaml", tmp_path / "run1", 8, False)
    curves = {}
    for count in (1, 2):
        found = RunFolder.open(tmp_path / f"run{count}")
        assert found.check() == []
        assert found.manifest["training"]["processes"] == count
        curves[count] = [parts["loss"] for _, parts in found.manifest["training"]["losses"]]
    assert curves[2] == pytest.approx(curves[1], rel=2e-3)
    assert len(set(curves[1])) > 4  # each step has prompts of its own, so equal curves mean equal steps


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (build_sdxl, ("text_encoder.encoder.layers.2.", "text_encoder.final_layer_norm.")),
        (build_plain_bert, ("text_encoder.pooler.",)),
    ],
)
def test_every_weight_in_training_gets_a_gradient(build: Any, left: tuple[str, ...], tmp_path: Path) -> None:
    """Several processes wait for the gradient of each, at each step."""
    trainer = trainer_of(build(tmp_path / "model"), Anchor())
    trainer.accelerator.prepare(trainer.student)
    trainer._fit(1_000)
    trainer._step(trainer.student, 0)
    assert trainer.trainable
    assert all(parameter.grad is not None for parameter in trainer.trainable.values())
    encoders = trainer.student.bundle.encoders
    frozen = {
        name.replace("text_model.", "")
        for name, p in encoders.named_parameters()
        if not p.requires_grad and "embedding" not in name
    }
    assert frozen
    assert all(name.startswith(left) for name in frozen)


class Crew:
    """Two processes, of which the other is told to stop in step 2 or finds it late then."""

    index, count = 0, 2

    def __init__(self, stop: bool) -> None:
        self.stop, self.seen = stop, list[tuple[bool, ...]]()

    def wait(self) -> None:
        """The other is never late here."""

    def told(self, value: Any) -> Any:
        return value

    def anyone(self, *flags: bool) -> tuple[bool, ...]:
        self.seen.append(flags)
        second = len(self.seen) == 2
        return self.stop and second, second


@pytest.mark.parametrize("stop", [True, False])
def test_all_processes_turn_to_a_checkpoint_together(stop: bool, tmp_path: Path) -> None:
    trainer = trainer_of(build_sd1(tmp_path / "model"), Anchor())
    trainer.team, trainer.folder = (crew := Crew(stop)), tmp_path / "checkpoints"
    with pytest.raises(InterruptedRun, match="step 2") if stop else contextlib.nullcontext():
        trainer.run(False, lambda step, parts: None)
    assert [path.name for path in trainer.folder.glob("*")] == ["step-000002"]
    assert trainer.progress.done == (2 if stop else 4)
    assert set(crew.seen) == {(False, False)}  # this one has neither been told nor found it late
