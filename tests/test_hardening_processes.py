"""Two processes train like one (``accelerate launch``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hardening_case import POLICY
from minis import build_sd1

CASE = Path(__file__).with_name("hardening_case.py")


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    build_sd1(tmp_path / "model")
    (tmp_path / "policy.yaml").write_text(POLICY)
    curves = {}
    for count in (1, 2):
        out = tmp_path / f"run{count}"
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1", "--mixed_precision", "no"]
        launch += [
            "--dynamo_backend",
            "no",
            "--num_cpu_threads_per_process",
            "1",
            "--num_processes",
            str(count),
            "--main_process_port",
            "0",
        ]
        done = subprocess.run(
            [*launch, str(CASE), str(tmp_path / "model"), str(tmp_path / "policy.yaml"), str(out), "8", "new", "0"],
            env={**os.environ, "ACCELERATE_USE_CPU": "true"},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        training = json.loads((out / "manifest.json").read_text())["training"]
        assert training["processes"] == count
        curves[count] = [parts["loss"] for _, parts in training["losses"]]
    assert curves[2] == pytest.approx(curves[1], rel=2e-3)
    assert curves[1][-1] < curves[1][0]
