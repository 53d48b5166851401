"""A miniature pipeline, another encoder for it, a policy, and detectors that look at the pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.made_runs import disturb
from support.validation_case import FAST, POLICY, PixelDetector

import safetext_sdk as st
from safetext_sdk.comparison.entries import Comparison
from safetext_sdk.detectors import DETECTORS


@pytest.fixture(autouse=True)
def pixel_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.add("pixel", lambda spec, device: [PixelDetector(c, list(spec.labels)) for c in (0, 2)])


@pytest.fixture(scope="module")
def original(mini_sd1: Path) -> Any:
    torch.set_num_threads(1)
    return st.load_model(mini_sd1, device="cpu")


@pytest.fixture(scope="module")
def other(original: Any, mini_sd1: Path) -> Any:
    changed = disturb(st.load_model(mini_sd1, device="cpu").encoders["text_encoder"])
    return original.with_encoders({"text_encoder": changed})


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return st.load_policy(path)


@pytest.fixture
def compare(original: Any, policy: Any, tmp_path: Path) -> Callable[..., Comparison]:
    def call(*given: Any, **options: Any) -> Comparison:
        usual: dict[str, Any] = {
            "model": original,
            "out": tmp_path / "out",
            "n": 2,
            "settings": FAST,
            "progress": False,
        }
        usual["attacks"] = "none"
        return st.compare(list(given), options.pop("policy", policy), **{**usual, **options})

    return call
