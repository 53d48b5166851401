"""Every method x {all weights, LoRA} x {tiny, SDXL, FLUX}: trains, goes on after a stop to the same weights,
bit for bit, and what is exported is what was trained. One column is quick; the rest is marked slow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from safetext_exporters import export
from support.hardening_case import POLICY, run
from support.minis import build_flux, build_sdxl

from safetext_sdk import progress
from safetext_sdk.errors import InterruptedRun
from safetext_sdk.methods import METHODS, Adversarial, Anchor, Des, EsdEncoder, Method, SafeText, Sage
from safetext_sdk.models import load_model

SMALL: dict[str, Any] = {"pictures": 1, "picture_steps": 2, "picture_size": 32}
MADE: dict[str, Callable[[], Method[Any]]] = {
    "anchor": lambda: Anchor(push=0.5, contrast=0.3),
    "safetext": SafeText,
    "des": Des,
    "sage": Sage,
    "esd-encoder": lambda: EsdEncoder(**SMALL),
    "adversarial": lambda: Adversarial(attack="gradient", prefix=1, rounds=1, candidates=2, pool=True),
}
TRAIN: dict[str, Any] = {"prompts": 6, "batch_size": 2, "wide_safe": 0, "cache_gb": 0.5}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("matrix")
    build_sdxl(root / "sdxl")
    build_flux(root / "flux")
    (root / "policy.yaml").write_text(POLICY.replace(", {shipped: everyday}", ""))
    return root


def cases() -> list[Any]:
    quick = ("sdxl", False)
    return [
        pytest.param(
            method,
            lora,
            model,
            id=f"{method}-{'lora' if lora else 'full'}-{model}",
            marks=() if (model, lora) == quick else pytest.mark.slow,
        )
        for method in MADE
        for lora in (False, True)
        for model in ("tiny", "sdxl", "flux")
    ]


def test_every_built_in_method_is_in_the_matrix() -> None:
    assert set(MADE) == {name for name in METHODS.names() if METHODS.is_built_in(name)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("text_encoder*/*.safetensors"))
    return {f"{f.parent.name}/{k}": t for f in files for k, t in load_file(f).items()}


@pytest.mark.parametrize(("method", "lora", "model"), cases())
def test_it_trains_resumes_and_exports(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, lora: bool, model: str
) -> None:
    source = load_model("tiny" if model == "tiny" else place / model)

    def go(out: str, resume: bool = False) -> Any:
        settings = {"method": MADE[method](), "train": TRAIN, "lora": 2 if lora else False}
        return run(source, place / "policy.yaml", tmp_path / out, 3, resume, **settings)

    whole = go("whole")
    with monkeypatch.context() as patch:
        stop = lambda self, done, losses: os.kill(os.getpid(), signal.SIGINT) if done == 2 else None  # noqa: E731
        patch.setattr(progress.Bar, "update", stop)
        with pytest.raises(InterruptedRun):
            go("cut")
    go("cut", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert one
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    prompts = ["a gun", "a picture of a cat"]
    got = whole.model.encode(prompts).flat()
    assert torch.isfinite(got).all()
    assert (got - source.encode(prompts).flat()).abs().max() > 1e-6
    written = export(whole, "diffusers", out=tmp_path / "exported", whole=True).path
    torch.testing.assert_close(load_model(written).encode(prompts).flat(), got, rtol=1e-4, atol=1e-4)
    adapters = tmp_path / "whole" / "lora"
    assert adapters.is_dir() == (lora or model == "flux")
