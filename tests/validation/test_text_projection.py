"""Keys and values of the text computed once a batch: fewer calls, the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safetext_sdk.validation import generate
from safetext_sdk.validation.generate import PictureMaker, Request, Settings
from safetext_sdk.validation.text_projection import SMALL, text_projected_once


class Attention(nn.Module):
    def __init__(self, cross: bool = True) -> None:
        super().__init__()
        self.is_cross_attention = cross
        self.to_k, self.to_v = nn.Linear(4, 4), nn.Linear(4, 4)


def test_pictures_are_equal_and_layers_are_asked_once_a_batch(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = original.denoiser
    layer = next(m.to_k for m in denoiser.modules() if getattr(m, "is_cross_attention", False))
    real = nn.Linear.forward
    asked: list[int] = []

    def counts(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        if self is layer:
            asked.append(1)
        return real(self, x)

    monkeypatch.setattr(nn.Linear, "forward", counts)
    settings = Settings(steps=4, guidance=2.0)
    requests = [Request(p, s) for p in ("a gun", "a cat") for s in range(4)]
    found: dict[str, list[bytes]] = {}
    for name, pixels in (("kept", SMALL), ("anew", SMALL + 1)):
        maker = PictureMaker(original, tmp_path / name, settings=settings, batch_size=4, workers=1)
        monkeypatch.setattr(PictureMaker, "pixels", pixels)
        asked.clear()
        assert maker.ensure(requests) == 8
        found[name] = [maker.path(request).read_bytes() for request in requests]
        steps = len(asked)
        assert steps == (2 if name == "kept" else 2 * len(maker.pipe.scheduler.timesteps))
    assert found["kept"] == found["anew"]
    assert "forward" not in layer.__dict__


def test_a_new_or_changed_text_is_projected_anew_and_gradients_flow() -> None:
    block = nn.Sequential(Attention(), Attention(cross=False))
    text, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    keys = block[0].to_k
    with text_projected_once(block, SMALL):
        with torch.no_grad():
            first = keys(text)
            assert keys(text) is first
            assert torch.equal(keys(other), nn.functional.linear(other, keys.weight, keys.bias))
            kept = keys(text)
            text.mul_(2)
            assert not torch.equal(keys(text), kept)
        assert "forward" not in block[1].to_k.__dict__
        asked = text.clone().requires_grad_()
        keys(asked).sum().backward()
        assert asked.grad is not None
    with torch.no_grad():
        assert keys(text) is not keys(text)


def test_layers_that_others_took_over_are_left_alone() -> None:
    block = Attention()
    mine = lambda x: x  # noqa: E731
    block.to_k.forward = mine
    with text_projected_once(block, SMALL), torch.no_grad():
        text = torch.randn(1, 2, 4)
        assert block.to_k(text) is text
        assert block.to_v(text) is block.to_v(text)
    assert block.to_k.forward is mine
    with text_projected_once(None, None):
        pass


def test_sides_of_a_picture(original: Any, tmp_path: Path) -> None:
    given = Settings(steps=1, guidance=2.0, height=24, width=16)
    assert PictureMaker(original, tmp_path, settings=given).pixels == 24 * 16
    own = generate.Settings(steps=1, guidance=2.0)
    side = original.denoiser.config.sample_size * original.pipeline().vae_scale_factor
    assert PictureMaker(original, tmp_path, settings=own).pixels == side * side
