"""A miniature pipeline, a hardened copy of it, and detectors that look at the pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.validation_case import FAST, POLICY, PixelDetector

import safetext_sdk as st
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.results.report import Report


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> list[PixelDetector]:
    built: list[PixelDetector] = []

    def build(spec: Any, device: str) -> list[PixelDetector]:
        new = [PixelDetector(c, list(spec.labels), str(spec.options.get("version", "1"))) for c in (0, 2)]
        built.extend(new)
        return new

    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.add("pixel", build)
    return built


@pytest.fixture(scope="module")
def original(mini_sd1: Path) -> Any:
    from safetext_sdk.models import load_model

    torch.set_num_threads(1)
    return load_model(mini_sd1, device="cpu")


@pytest.fixture(scope="module")
def hardened(original: Any) -> Any:
    encoder = copy.deepcopy(original.encoders["text_encoder"])
    torch.manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return original.with_encoders({"text_encoder": encoder})


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    from safetext_sdk import load_policy

    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return load_policy(path)


@pytest.fixture
def run(original: Any, hardened: Any, policy: Any, detectors: Any, tmp_path: Path) -> Callable[..., Report]:
    def call(**given: Any) -> Report:
        options = {
            "out": tmp_path / "report",
            "n": 4,
            "settings": FAST,
            "progress": False,
            "batch_size": 8,
            "attacks": "none",
        } | given
        return st.validate(
            options.pop("original", original),
            options.pop("hardened", hardened),
            options.pop("policy", policy),
            **options,
        )

    return call
