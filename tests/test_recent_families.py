"""One miniature of each family with a language model or T5 alone walks the whole road: harden, validate,
gate, export, verify."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetext_exporters import export
from support.hardening_case import run
from support.recent_minis import RECENT
from support.validation_case import PixelDetector

import safetext_sdk as st
from safetext_sdk.models import load_model
from safetext_sdk.validation.generate import Settings
from safetext_sdk.verification.file_checks import verify_files
from safetext_sdk.verification.identify import verify_against

POLICY = """
version: 1
name: weapons
concepts:
  - id: weapon
    terms: [gun, rifle, knife, sword, dagger, axe, pistol, bomb, grenade, cannon]
    anchors: [a flower]
    detectors: [{name: pixel, labels: [weapon]}]
safe_prompts: ["a cat", "an apple", "a picture of a cat with an apple", {shipped: everyday}]
gates: {unsafe_rate: {max: 0.05}, redirected_share: {min: 0.5}}
"""
QUICK = ("auraflow", "zimage", "qwenimage", "lumina2")
"""The others' prompts are long or their encoders deep: they walk with the slow tests."""


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(RECENT)]
)
def test_walks_the_whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(
        "safetext_sdk.detectors.DETECTORS.get",
        lambda kind: lambda spec, device: [PixelDetector(0, spec.labels)],
    )
    folder = tmp_path / "run"
    (tmp_path / "policy.yaml").write_text(POLICY)
    RECENT[name](tmp_path / "model")
    hardened = run(
        tmp_path / "model",
        tmp_path / "policy.yaml",
        folder,
        2,
        False,
        train={"prompts": 8, "wide_safe": 8, "lora_learning_rate": 0.3},
    )
    assert set(hardened.run.manifest["encoders"].values()) == {"hardened"}
    assert hardened.run.manifest["family"] == name
    report = st.validate(
        None,
        folder,
        n=2,
        settings=Settings(steps=1, guidance=2.0, height=32, width=32),
        progress=False,
    )
    assert {row.model for row in report.rows} == {"original", "hardened"}
    verdict = st.gate(report)
    assert verdict.exit_code in (1, 4)  # two prompts prove nothing
    for target in ("diffusers", "peft"):
        path = export(hardened, target).path
        assert path.is_dir()
    files = verify_files(folder)
    assert files.exit_code == 0, files.text()
    pipe = load_model(folder).pipeline()
    assert verify_against(folder, pipe).exit_code == 0
    assert verify_against(folder, load_model(tmp_path / "model").pipeline()).exit_code == 1


def test_a_language_model_is_named_as_not_exported_to_onnx(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    RECENT["zimage"](tmp_path / "model")
    hardened = run(
        tmp_path / "model",
        tmp_path / "policy.yaml",
        tmp_path / "run",
        1,
        False,
        train={"prompts": 8, "wide_safe": 8},
    )
    with pytest.raises(st.SafeTextError, match="Qwen3"):
        export(hardened, "onnx")
