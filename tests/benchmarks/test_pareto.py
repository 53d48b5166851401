"""The benchmark of methods at several strengths hardens, compares and draws with the library's own code."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file
from support.hardening_case import CONFIG
from support.validation_case import POLICY, PixelDetector

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.hardening.settings import TrainConfig, assignments
from safetext_sdk.methods import METHODS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pareto.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="pareto")


def test_every_strength_is_a_setting_that_there_is(script: dict[str, Any]) -> None:
    for method, strengths in script["STRENGTHS"].items():
        assert len(set(strengths)) == len(strengths) > 1
        if method in METHODS.names():
            kind = METHODS.get(method).Config
            for pairs in strengths:
                given = assignments(pairs.split(), kind)
                kind(**given["method"])
                TrainConfig(**given["train"])


def test_two_strengths_of_one_method(
    script: dict[str, Any],
    mini_sd1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.add("pixel", lambda spec, device: [PixelDetector(c, list(spec.labels)) for c in (0, 2)])
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    quick = " ".join(f"train.{key}={value}" for key, value in CONFIG.items())
    strengths = tuple(f"{quick} train.extent={x}" for x in (0.5, 1.0))
    monkeypatch.setitem(script["STRENGTHS"], "anchor", strengths)
    command = ["--model", str(mini_sd1), "--policy", str(policy), "--methods", "anchor", "--steps", "2"]
    command += [
        "--n",
        "2",
        "--attacks",
        "--baselines",
        "original",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    script["main"](command)
    text = capsys.readouterr().out
    assert text.count("extent") == 2
    rows = [line.split(" | ") for line in text.splitlines() if "extent" in line]
    clock_and_processor = [cell.rstrip(" |") for row in rows for cell in row[-2:]]
    assert all(cell.endswith(" s") for cell in clock_and_processor)
    plot = ElementTree.fromstring((tmp_path / "out" / "pareto.svg").read_text())
    words = [node.text for node in plot.iter("{http://www.w3.org/2000/svg}text")]
    costs = {row[-1].rstrip(" |") for row in rows}
    assert len(costs) == 1  # one training for both
    cost = costs.pop()
    assert {f"anchor extent=0.5, {cost}", f"anchor extent=1.0, {cost}", "original"} <= set(words)
    half, whole = (next((tmp_path / "out" / "runs").glob(f"*extent_{x}-s0/")) for x in (0.5, 1.0))
    assert not (half / "manifest.json").exists()  # no training of its own
    before, middle, after = (
        {
            name.removeprefix("text_model."): tensor
            for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items()
        }
        for folder in (mini_sd1, half, whole)
    )
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved
    for name in moved:
        torch.testing.assert_close(middle[name], (before[name] + after[name]) / 2, rtol=1e-5, atol=1e-7)
    seconds = sorted((tmp_path / "out" / "runs").glob("*.seconds.json"))
    clocks = [file.read_text() for file in seconds]
    assert clocks[0] == clocks[1]
    script["main"](command)
    assert [file.read_text() for file in seconds] == clocks
    seconds[-1].unlink()  # as if killed between a run's end and its clock: the processor's part is not known
    capsys.readouterr()
    script["main"](command)
    again = json.loads(seconds[-1].read_text())
    assert again == {"seconds": json.loads(clocks[-1])["seconds"], "processor": None}
    text = capsys.readouterr().out
    assert (tmp_path / "out" / "pareto.md").read_text() in text
    moved_from(script, command[:-1], half, whole, tmp_path / "other")


def moved_from(script: dict[str, Any], command: list[str], half: Path, whole: Path, out: Path) -> None:
    """Extents of a run that is finished are moved from it: nothing is hardened."""
    given = [*command, str(out), "--trained", f"anchor={whole}"]
    script["main"]([*given, "--points", "anchor:train.extent=0.5"])
    (other,) = (out / "runs").glob("*/")
    assert not (other / "manifest.json").exists()
    ours, theirs = (load_file(path / "text_encoder" / "model.safetensors") for path in (other, half))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(SystemExit, match="it is of anchor, seed 0"):
        script["harden"]("anchor", "train.extent=0.5", script["parsed"]([*given, "--seed", "1"]))


def test_points_of_ones_own_and_attacks_with_settings(script: dict[str, Any]) -> None:
    args = script["parsed"](
        [
            "--attacks",
            "context",
            "gcg-encoder",
            "--budget",
            "small",
            "--set",
            "gcg-encoder.steps=3",
            "--n",
            "4",
            "--attack-n",
            "2",
        ]
    )
    context, search = script["attacks_of"](args)
    assert (context.name, search.config.steps, search.config.candidates) == ("context", 3, 48)
    sizes = script["sizes"](args)
    assert {name: n for name, n in sizes.items() if n} == {"unsafe": 4, "safe": 4, "attacked": 2}
    assert script["sizes"](script["parsed"]([])) is None
    with pytest.raises(SystemExit, match="no such attack"):
        script["attacks_of"](script["parsed"](["--attacks", "context", "--set", "typos.seed=1"]))
