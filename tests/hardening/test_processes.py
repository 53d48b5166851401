"""Two processes train like one (``accelerate launch``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hardening_case import POLICY, run
from support.minis import build_sd1

from safetext_sdk.models.run_folder import RunFolder

CASE = Path(__file__).parents[1] / "support" / "hardening_case.py"


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    build_sd1(tmp_path / "model")
    (tmp_path / "policy.yaml").write_text(POLICY)
    run(tmp_path / "model", tmp_path / "policy.yaml", tmp_path / "run1", 8, False)
    # --cpu would start one process whatever --num_processes says; --multi_gpu starts them all, and each finds
    # that it is on a CPU.
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_machines",
        "1",
        "--num_processes",
        "2",
    ]
    launch += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--num_cpu_threads_per_process",
        "1",
        "--main_process_port",
        "0",
    ]
    done = subprocess.run(
        [
            *launch,
            str(CASE),
            str(tmp_path / "model"),
            str(tmp_path / "policy.yaml"),
            str(tmp_path / "run2"),
            "8",
            "new",
            "0",
        ],
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    curves = {}
    for count in (1, 2):
        found = RunFolder.open(tmp_path / f"run{count}")
        assert found.check() == []
        assert found.manifest["training"]["processes"] == count
        curves[count] = [parts["loss"] for _, parts in found.manifest["training"]["losses"]]
    assert curves[2] == pytest.approx(curves[1], rel=2e-3)
    assert len(set(curves[1])) > 4  # each step has prompts of its own, so equal curves mean equal steps
