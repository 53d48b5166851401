"""The benchmarks of what users wait for run, compare equal work, and print figures."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_validation_against_the_bare_pipeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "validate_speed --device cpu --pictures 2 --batch 1 --steps 1 --rounds 1 --workers 1"
    monkeypatch.setattr(sys, "argv", words.split())
    runpy.run_path(str(BENCHMARKS / "validate_speed.py"), run_name="__main__")
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["pictures"]) == ("tiny", 2)
    assert found["bare_seconds_a_picture"] > 0
    assert found["overhead_scored"] > found["overhead_drawn"] - 1


def test_the_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["start_speed", "--texts", "600", "--rounds", "1"])
    runpy.run_path(str(BENCHMARKS / "start_speed.py"), run_name="__main__")
    found = json.loads(capsys.readouterr().out)
    assert found["texts"] == 600
    assert min(found[name] for name in ("help", "book", "tokens", "tokens_padded_call")) > 0
