"""The plug-ins that the pages show are run as they stand there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image
from support.attack_case import context, texts
from support.gate_case import row

from safetext_sdk.detectors import Detector
from safetext_sdk.detectors.kept import Caption, KeptJudge, KeptQuestion
from safetext_sdk.results.compute import pair_up
from safetext_sdk.results.rows import PictureChange

DOCS = Path(__file__).parents[2] / "docs"


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
