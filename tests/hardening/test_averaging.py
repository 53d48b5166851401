"""The mean of the weights over the last steps: what it is, and that stopping does not change it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hardening_case import POLICY, run
from support.minis import build_sd1
from torch import nn

from safetext_sdk.errors import InterruptedRun, RunError, UsageError
from safetext_sdk.hardening.averaging import TailMean
from safetext_sdk.hardening.settings import from_text
from safetext_sdk.models.run_folder import RunFolder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("averaging")
    build_sd1(root / "model")
    (root / "policy.yaml").write_text(POLICY)
    return root


def go(place: Path, out: Path, average: float, resume: bool = False, **more: Any) -> Any:
    return run(
        place / "model", place / "policy.yaml", out, 8, resume, train={"average": average}, **more
    ).run.path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "text_encoder" / "model.safetensors")


def one(value: float) -> dict[str, nn.Parameter]:
    return {"w": nn.Parameter(torch.tensor([value, -value]))}


def test_the_last_steps_count_the_same() -> None:
    mean = TailMean.over(0.5, 6)
    assert mean is not None
    assert mean.first == 3
    parameter = one(0.0)
    for step, value in enumerate((100.0, -7.0, 50.0, 1.0, 2.0, 6.0)):
        with torch.no_grad():
            parameter["w"].copy_(one(value)["w"])
        mean.add(step, parameter)
        assert bool(mean.mean) == (step >= 3)
    mean.put(parameter)
    torch.testing.assert_close(parameter["w"].detach(), torch.tensor([3.0, -3.0]))


@pytest.mark.parametrize(("share", "first"), [(1.0, 0), (1e-9, 99), (0.004, 99), (0.3, 70)])
def test_a_share_is_at_least_one_step(share: float, first: int) -> None:
    mean = TailMean.over(share, 100)
    assert mean is not None
    assert mean.first == first


def test_nothing_is_averaged_unless_asked() -> None:
    assert TailMean.over(0.0, 100) is None
    for wrong in ("-0.1", "1.1"):
        with pytest.raises(UsageError, match="average"):
            from_text("anchor", [f"train.average={wrong}"])


def test_what_is_written_is_the_mean_of_the_weights_of_its_steps(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    real = TailMean.add

    def watched(self: TailMean, step: int, trainable: Any) -> None:
        assert step == len(seen)
        seen.append({name: p.detach().clone() for name, p in trainable.items()})
        real(self, step, trainable)

    monkeypatch.setattr(TailMean, "add", watched)
    out = go(place, tmp_path / "half", 0.5)
    assert len(seen) == 8
    written = weights(out)
    moved = 0
    for name, last in seen[-1].items():
        key = next(k for k in written if k.endswith(name.removeprefix("encoders.text_encoder.")))
        mean = torch.stack([w[name] for w in seen[4:]]).mean(0)
        torch.testing.assert_close(written[key], mean, rtol=0, atol=3e-7)
        moved += not torch.equal(written[key], last)
    assert moved > 0
    assert RunFolder.open(out).manifest["config"]["train"]["average"] == 0.5


def test_the_mean_of_one_step_is_that_step(place: Path, tmp_path: Path) -> None:
    plain, last = weights(go(place, tmp_path / "plain", 0.0)), weights(go(place, tmp_path / "last", 0.1))
    assert all(torch.equal(plain[name], last[name]) for name in plain)


@pytest.mark.parametrize("lora", [False, 2])
@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_that_is_stopped_ends_with_the_same_mean(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, lora: bool | int
) -> None:
    """Before a step counts, and in the middle of those that do."""
    from safetext_sdk import progress

    whole = go(place, tmp_path / "whole", 0.5, lora=lora)
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Bar,
            "update",
            lambda self, done, losses: os.kill(os.getpid(), signal.SIGINT) if done == stop else None,
        )
        with pytest.raises(InterruptedRun):
            go(place, tmp_path / "cut", 0.5, lora=lora)
    kept = tmp_path / "cut" / "checkpoints" / f"step-{stop:06d}" / "average.safetensors"
    assert kept.is_file() == (stop > 4)
    go(place, tmp_path / "cut", 0.5, resume=True, lora=lora)
    got, want = weights(tmp_path / "cut"), weights(whole)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_checkpoint_that_lost_its_mean_is_refused() -> None:
    half = TailMean(4)
    half.restore(4, {}, one(1.0))
    with pytest.raises(RunError, match="does not hold the mean"):
        half.restore(6, {}, one(1.0))
    with pytest.raises(RunError, match="does not hold the mean"):
        half.restore(6, {"v": torch.zeros(2)}, one(1.0))
    half.restore(6, {"w": torch.tensor([4.0, 4.0])}, one(1.0))
    half.add(6, one(1.0))  # the third step that counts
    torch.testing.assert_close(half.mean["w"], torch.tensor([3.0, 7 / 3]))
