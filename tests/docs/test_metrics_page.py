"""The page of metrics: every built-in one is there with its direction, and its example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.gate_case import passing, row

from safetext_sdk.metrics import METRICS, every_metric
from safetext_sdk.metrics.evidence import Evidence
from safetext_sdk.metrics.pictures import Pictures

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_built_in_metric_is_in_the_table_with_its_direction() -> None:
    found = {
        name: cells
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    built_in = {name: m for name, m in every_metric().items() if METRICS.is_built_in(name)}
    assert found.keys() == built_in.keys()
    for name, metric in built_in.items():
        assert found[name][3] == metric.better, name
        assert (found[name][2] == "pictures") == (metric.pictures is not None), name


def test_every_option_of_the_page_is_one() -> None:
    named = re.findall(r"--set (\w+)\.(\w+)=", PAGE)
    assert named
    for name, option in named:
        kind = METRICS.get(name).pictures
        assert kind is not None
        assert option in kind.Config.model_fields


def test_the_example_takes_what_it_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "brightness.py", "exec"), names)
    (tmp_path / "images").mkdir()
    rows = [row("hardened", "safe", k) for k in range(12)]
    for k, each in enumerate(rows):
        Image.new("L", (8, 8), 100 + k).save(tmp_path / each.image)
    where = Pictures(Evidence(passing(1).facts, tuple(rows)), tmp_path)
    taken = names["METRIC"].pictures(names["METRIC"].pictures.Config(), None).take(where)
    assert taken.interval.value == pytest.approx(105.5)
    assert taken.set == "safe"
