"""Metrics of an installed third-party package on the embedded model: one that needs weights and one that does
not, through summary, gate, pages and JUnit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from support.detector_case import build_clip
from support.small_case import small_policy

import safetext_sdk as st
from safetext_sdk.errors import UnmeasuredMetricWarning
from safetext_sdk.policy import MetricSpec
from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import report_text
from safetext_sdk.results.report import Report
from safetext_sdk.validation.generate import Settings

FEW = {"unsafe": 3, "safe": 8, "safe_unseen": 0, "borderline": 0, "negative": 0, "negative_unsafe": 0}
GATES = {"picture_shift": Gate(max=250), "feature_shift": Gate(max=1.99)}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Report]:
    """The embedded model against a disturbed copy; pictures are drawn once, whatever is asked for."""
    folder = tmp_path_factory.mktemp("validated")
    model = st.load_model("tiny", device="cpu")
    encoder = copy.deepcopy(model.encoders["text_encoder"])
    torch.manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    moved = model.with_encoders({"text_encoder": encoder})
    policy = st.load_policy(small_policy(folder))

    def call(*specs: MetricSpec, **more: Any) -> Report:
        asked = policy.model_copy(update={"metrics": list(specs), "gates": {**policy.gates, **GATES}})
        few = {"settings": Settings(steps=2), "progress": False, "attacks": "none", "device": "cpu"}
        return st.validate(model, moved, asked, out=folder / "report", n=FEW, **few, **more)

    return call


def gates_of(report: Report) -> dict[str, Any]:
    return {g.name: g for g in st.gate(report).gates}


def test_with_its_weights_a_plug_in_is_measured_and_gated_as_any_metric(
    validated: Callable[..., Report], judge: Path
) -> None:
    report = validated(MetricSpec(name="feature_shift", options={"model": str(judge)}))
    pairs = sum(r.set == "safe" and r.model == "hardened" for r in report.rows)
    figures = json.loads((report.folder / "summary.json").read_text())["metrics"]
    for name, unit in (("feature_shift", "1 - cosine"), ("picture_shift", "grey levels")):
        assert figures[name]["unit"] == unit
        assert 0 <= figures[name]["lower"] < figures[name]["value"] < figures[name]["upper"]
        assert figures[name]["n"] == pairs
    lines = (report.folder / "measures/feature_shift.jsonl").read_text().splitlines()
    mean = sum(json.loads(line)["value"] for line in lines) / pairs
    assert mean == pytest.approx(figures["feature_shift"]["value"], abs=1e-5)
    found = gates_of(report)
    assert {found[name].verdict for name in GATES} == {"pass"}
    assert f"seen by {judge}" in found["feature_shift"].reason
    assert gates_of(Report.load(report.folder))["feature_shift"] == found["feature_shift"]
    cases = {
        case.get("name"): [child.tag for child in case]
        for case in ElementTree.parse(report.folder / "junit.xml").iter("testcase")
    }
    assert cases["feature_shift"] == cases["picture_shift"] == ["system-out"]
    for text in ("index.html", "summary.md"):
        assert "turn of safe pictures" in (report.folder / text).read_text(encoding="utf-8")
    assert "feature_shift" in report_text(report)


def test_without_its_weights_it_is_not_measured_and_passes_nothing(validated: Callable[..., Report]) -> None:
    with pytest.warns(UnmeasuredMetricWarning, match="feature_shift will not be measured: no vision model"):
        report = validated()
    found = gates_of(report)
    assert (found["picture_shift"].verdict, found["feature_shift"].verdict) == ("pass", "inconclusive")
    assert found["feature_shift"].value is None
    assert "not measured: no vision model; --set feature_shift.model=FOLDER" in found["feature_shift"].reason
    case = next(
        case
        for case in ElementTree.parse(report.folder / "junit.xml").iter("testcase")
        if case.get("name") == "feature_shift"
    )
    assert [child.tag for child in case] == ["error"]
    figure = json.loads((report.folder / "summary.json").read_text())["metrics"]["feature_shift"]
    assert (figure["value"], figure["n"]) == (None, 0)
    assert st.gate(report).verdict != "pass"
