"""clip_skip of Stable Diffusion 1 and 2 against what transformers 4.57 with diffusers 0.39 gave
(`benchmarks/record_clip_skip.py`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.minis import build_sd1, build_sd2, fill_by_name

from safetext_sdk.models import load_model

RECORD = Path(__file__).parents[1] / "data" / "clip_skip.npz"


@pytest.fixture(scope="module")
def record() -> dict[str, np.ndarray]:
    with np.load(RECORD, allow_pickle=False) as data:
        return dict(data)


def test_the_record_comes_from_the_older_pair(record: dict[str, np.ndarray]) -> None:
    versions = json.loads(str(record["versions"]))
    assert versions["transformers"].startswith("4.57.")
    assert versions["diffusers"].startswith("0.39.")


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_clip_skip_equals_the_record(family: str, record: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = load_model(
        {"sd1": build_sd1, "sd2": build_sd2}[family](tmp_path / family), device="cpu", precision="fp32"
    )
    fill_by_name(model.encoders["text_encoder"])
    prompts = json.loads(str(record["prompts"]))
    ids = model.tokenize(prompts)["text_encoder"]["input_ids"]
    assert np.array_equal(ids.numpy(), record[f"{family}-ids"])
    for skip in (None, 1, 2):
        want = torch.from_numpy(record[f"{family}-skip{skip or 0}"])
        state = model.encode(prompts, clip_skip=skip).tensors["prompt_embeds"][:, ::4]
        assert state.shape == want.shape
        # Values reach about 3, where neighbouring floats lie 2.4e-7 apart; processors add up in other orders
        # (1.19e-6 was seen without VNNI). Ten such steps, while another layer differs by more than 0.1.
        torch.testing.assert_close(state, want, rtol=0, atol=2.4e-6)
        others = [torch.from_numpy(record[f"{family}-skip{k}"]) for k in (0, 1, 2) if k != (skip or 0)]
        assert all((state - other).abs().max() > 0.1 for other in others)
