"""The speed benchmark runs the real trainer, and says what it says."""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safetext_sdk.hardening.assemble import TrainingTexts
from safetext_sdk.hardening.trainer import Trainer
from safetext_sdk.methods.prompt_table import Pair

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAIRS = [Pair(f"a {thing} on a table", "a flower") for thing in ("gun", "knife", "sword")]
SAFE = [
    ("", "empty"),
    ("blurry", "negative"),
    *((f"a {animal}", "safe") for animal in ("cat", "dog", "cow", "hen")),
]
WORDS = TrainingTexts(PAIRS, SAFE, {})


@pytest.fixture(scope="module")
def script() -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield runpy.run_path(str(BENCHMARKS / "harden_speed.py"), run_name="harden_speed")


def test_a_tiny_run_times_the_trainer(script: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_sdk.models import load_model

    tokenizer = load_model("tiny", device="cpu").tokenizers["text_encoder"]
    monkeypatch.setitem(script["SIZES"], "clip-l", (32, 2, 4))
    steps = []
    real = Trainer._step
    monkeypatch.setattr(
        Trainer, "_step", lambda self, module, step: steps.append(step) or real(self, module, step)
    )
    args = argparse.Namespace(batch=2, steps=2, run_steps=300, run_batch=32, precision="no")
    clock = script["Clock"]("cpu", 1)
    assert clock.kind == "processor time"
    found = script["measure"]("clip-l", 2, args, clock, WORDS, tokenizer)
    assert steps == list(range(2 * args.steps + 3))  # every step went through the trainer of `harden`
    assert found["steps"] >= args.steps
    assert 0 < found["positions"] < 77
    assert all(found[key] > 0 for key in found)
    assert found["times_same"] == pytest.approx(found["prompts_same"] / found["prompts_plain"])
    row = script["row_text"]("clip-l", 2, found, 1e9, 2)
    assert row.count("|") == script["HEAD"].splitlines()[0].count("|")


def test_every_switch_has_a_row_and_the_same_losses(script: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_sdk.models import load_model

    tokenizer = load_model("tiny", device="cpu").tokenizers["text_encoder"]
    monkeypatch.setitem(script["SIZES"], "clip-l", (32, 2, 4))
    clock = script["Clock"]("cpu", 1)
    args = argparse.Namespace(batch=2, precision="bf16", block=2, blocks=1, compile=False, rounds=1)
    case, plain = script["switches"]("clip-l", 2, args, clock, WORDS, tokenizer)
    switches = script["harden_switches"]
    lines = switches.table("clip-l", case, plain, 0.0, 1e9, 1e9)
    assert [line.split("|")[2].strip() for line in lines] == [
        "plain loop",
        "ours, eager",
        "+ no wait, buckets",
        "+ working weights",
        "+ kept in bf16",
    ]
    assert {line.count("|") for line in lines} == {switches.HEAD.splitlines()[0].count("|")}
    differs = [float(line.split("|")[-3]) for line in lines[1:]]
    assert differs[:3] == [0, 0, 0]  # bit for bit, as all positions are read
    assert 0 <= differs[3] < 0.01


class _FakeClock:
    """Every product seems to take the next of ``seconds``."""

    device = "cpu"

    def __init__(self, seconds: list[float]) -> None:
        self.times = [0.0]
        for second in seconds:
            self.times += [self.times[-1], self.times[-1] + second]
        self.times.pop(0)

    def now(self) -> float:
        return self.times.pop(0)


def test_the_ceiling_is_the_work_of_a_product_over_its_best_time(script: dict) -> None:
    import torch

    found = script["ceiling"](_FakeClock([0.8, 0.5, 0.25, 0.6]), torch.float32)
    assert found == pytest.approx(2 * 1536**3 / 0.25)
