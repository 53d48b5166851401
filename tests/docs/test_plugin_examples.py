"""The plug-ins that the pages show are run as they stand there."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from safetext_cli.main import run
from safetext_exporters.base import Subject
from support import baseline_case, hardening_case
from support.attack_case import context, texts
from support.gate_case import passing, row
from support.validation_case import FAST

from safetext_sdk import load_model
from safetext_sdk.detectors import Detector
from safetext_sdk.detectors.kept import Caption, KeptJudge, KeptQuestion
from safetext_sdk.metrics.evidence import evidence_of
from safetext_sdk.metrics.measure import measure
from safetext_sdk.models.families import ModelFolder
from safetext_sdk.prompts import Candidate
from safetext_sdk.results.compute import pair_up
from safetext_sdk.results.rows import PictureChange
from safetext_sdk.validation.generate import PictureMaker, Request

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def example(page: str, file: str) -> dict[str, Any]:
    """What the indented block that begins with ``# file`` defines."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(
        rf"^    # {re.escape(file)}\n((?:    .*\n|\n)+?)(?=    # pyproject)", text, re.MULTILINE
    )
    assert found, (page, file)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(textwrap.dedent(found.group(1)), file, "exec"), names)
    return names


def test_the_attack_of_the_page() -> None:
    shout = example("attacks.md", "my_package/shout.py")["Shout"]
    assert texts(shout(), ["a gun"], context()) == ["A GUN!!!"]
    assert texts(shout(marks=1), ["a gun"], context()) == ["A GUN!"]


def test_the_detector_of_the_page() -> None:
    build = example("detectors.md", "my_package/blood.py")["build"]
    (detector,) = build(SimpleNamespace(labels=["blood"]), "cpu")
    assert isinstance(detector, Detector)
    red, blue = Image.new("RGB", (8, 8), (200, 10, 10)), Image.new("RGB", (8, 8), (10, 10, 200))
    assert detector.score([red, blue]) == [{"blood": 1.0}, {"blood": 0.0}]
    assert detector.expected("a cup") == ()


def test_the_judge_of_kept_of_the_page() -> None:
    judge = example("detectors.md", "my_package/brightness.py")["build"](None, None)
    assert isinstance(judge, KeptJudge)
    dark, light = (Image.new("RGB", (8, 8), (v, v, v)) for v in (10, 200))
    asked = [KeptQuestion(Caption("a cup", "cup"), image, dark, light) for image in (dark, light)]
    assert [vote.kept for vote in judge.tell(asked)] == [True, False]


def test_the_metric_of_the_page() -> None:
    metric = example("validation.md", "my_package/distance.py")["METRIC"]
    rows = [
        row(model, "safe", k, change=PictureChange(mean_abs=0.1, ssim=0.9) if model == "hardened" else None)
        for k in range(20)
        for model in ("original", "hardened")
    ]
    found = metric.compute(pair_up(rows))
    assert (found.n, metric.unit.write(found.value), metric.side) == (20, "25.5", "max")


# --- CONTRIBUTING.md: ten lines for each kind ---

KINDS = ("methods", "attacks", "baselines", "detectors", "metrics", "families", "exporters", "prompt_sources")


def ten_lines(kind: str) -> dict[str, Any]:
    """What the block of a kind defines."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^### .*`safetext\.{kind}`\n.*?```python\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert found, kind
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(found[1], f"CONTRIBUTING.md: {kind}", "exec"), names)
    return names


def test_every_kind_has_its_lines_and_an_installed_plug_in() -> None:
    project = tomllib.loads((ROOT / "tests" / "plugins" / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["project"]["entry-points"]) == {f"safetext.{kind}" for kind in KINDS}
    counts = {group: len(names) for group, names in project["project"]["entry-points"].items()}
    two = {"safetext.metrics": 2}  # one of rows, one of pictures
    assert counts == {f"safetext.{kind}": 1 for kind in KINDS} | two
    for kind in KINDS:
        assert ten_lines(kind)


def test_the_method_of_ten_lines(mini_sd1: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(hardening_case.POLICY)
    model = load_model(mini_sd1, device="cpu")
    near, slowly = ten_lines("methods")["Near"](), {"learning_rate": 1e-3}
    done = hardening_case.run(model, policy, tmp_path / "run", 30, False, method=near, train=slowly)
    steps = [parts["unsafe"] for _, parts in done.run.manifest["training"]["losses"]]
    assert sum(steps[-10:]) < 0.85 * sum(steps[:10])


def test_the_attack_of_ten_lines() -> None:
    assert texts(ten_lines("attacks")["Twice"](), ["a gun"], context()) == ["a gun, a gun"]


def test_the_baseline_of_ten_lines(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    defended = ten_lines("baselines")["Polite"]().defend(baseline_case.context(model, tmp_path), {})
    drawn = [
        PictureMaker(each, tmp_path, settings=FAST, workers=1).draw([Request(prompt, 0)])[0].tobytes()
        for each, prompt in ((defended, "a gun"), (model, "a gun, harmless"))
    ]
    assert drawn[0] == drawn[1]


def test_the_detector_of_ten_lines() -> None:
    (detector,) = ten_lines("detectors")["build"](None, "cpu")
    assert isinstance(detector, Detector)
    assert detector.score([Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "white")]) == [
        {"dark": 1.0},
        {"dark": 0.0},
    ]
    assert detector.expected("a street at night") == ("dark",)


def test_the_metric_of_ten_lines() -> None:
    found = measure(ten_lines("metrics")["METRIC"], evidence_of(passing(60)))
    assert (found.interval.value, found.interval.n, found.missing) == (0.0, 60, "")


def test_the_family_of_ten_lines(tmp_path: Path, mini_sd1: Path) -> None:
    family, model = ten_lines("families")["FAMILY"], load_model(mini_sd1, device="cpu")
    assert family.claim(ModelFolder(tmp_path, {"_class_name": "MyDiffusionPipeline"})) == len("MyDiffusion")
    assert family.claim(ModelFolder(tmp_path, {"_class_name": "FluxPipeline"})) == 0
    with torch.no_grad():
        found = family.condition(model.encoders, family.tokenize(model.tokenizers, ["a gun"]))
    assert torch.equal(found.flat(), model.encode(["a gun"]).flat())


def test_the_exporter_of_ten_lines(tmp_path: Path, mini_sd1: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    result = ten_lines("exporters")["EXPORTER"](Subject(model), tmp_path / "out", {}, "weights")
    assert set(result.files) == {"text_encoder.safetensors"}
    state = model.encoders["text_encoder"].state_dict()
    assert load_file(result.path / "text_encoder.safetensors").keys() == state.keys()


def test_the_prompt_source_of_ten_lines() -> None:
    rows = ten_lines("prompt_sources")["Fruit"]().candidates(0)
    assert rows[0] == Candidate("a pear on a plate", "fruit", ("pear",))
    assert len(rows) == 3


@pytest.mark.parametrize("command", ["methods list", "families list", "policy sources"])
def test_the_commands_that_list_them_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command.split()) == 0
    assert "built-in" in capsys.readouterr().out
