"""LPIPS as the authors' own package computes it, and what is said where its weights are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.lpips_case import made_up, two_pictures

from safetext_sdk.errors import NotMeasuredError
from safetext_sdk.metrics.perceptual import Perceptual

RECORDED = {"alex": 0.06659622490406036, "vgg": 0.038629449903964996}
"""lpips 0.1.4 (PyPI) on the same pictures and made-up weights, torch 2.13, CPU."""
REAL = {"alex": 0.5695741176605225, "vgg": 0.5994323492050171}
"""The same with the published weights: torchvision's backbones, heads v0.1."""


@pytest.mark.parametrize("net", RECORDED)
def test_it_is_what_the_authors_package_says(net: str, tmp_path: Path) -> None:
    loaded = Perceptual.load(made_up(tmp_path, net))
    a, b = two_pictures()
    assert loaded.net == net
    there, back, same = loaded.distances([a, b, b], [b, a, b])
    assert (there, back, same) == pytest.approx((RECORDED[net], RECORDED[net], 0), rel=1e-5)


@pytest.mark.real_data
@pytest.mark.parametrize(("net", "backbone"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_it_is_what_the_authors_package_says_with_its_weights(net: str, backbone: str) -> None:
    if "SAFETEXT_LPIPS" not in os.environ:
        pytest.skip("SAFETEXT_LPIPS names no folder with alexnet, alex, vgg16 and vgg as safetensors")
    folder = Path(os.environ["SAFETEXT_LPIPS"])
    loaded = Perceptual.load([folder / f"{name}.safetensors" for name in (backbone, net)])
    a, b = two_pictures()
    assert loaded.distances([a], [b]) == pytest.approx([REAL[net]], rel=1e-5)


def test_the_hash_is_over_both_files(tmp_path: Path) -> None:
    backbone, heads = made_up(tmp_path, "alex")
    before = Perceptual.load([backbone, heads]).sha256
    changed = load_file(heads)
    changed["lin0.model.1.weight"] *= 1.01
    save_file(changed, heads)
    assert Perceptual.load([backbone, heads]).sha256 != before


def test_what_is_not_there_is_said_with_the_way_to_get_it(tmp_path: Path) -> None:
    backbone, heads = made_up(tmp_path, "alex")
    text = tmp_path / "text.safetensors"
    text.write_text("no tensors")
    for files, said in (
        ([tmp_path / "none.safetensors"], "there is no file"),
        ([text], "is no safetensors file"),
        ([backbone], "lack the heads"),
        ([heads], "lack features.0 of the alex backbone"),
    ):
        with pytest.raises(NotMeasuredError, match=said) as caught:
            Perceptual.load(files)
        assert "safetext convert" in str(caught.value)


def test_pictures_that_are_too_small_for_its_layers_are_named(tmp_path: Path) -> None:
    loaded = Perceptual.load(made_up(tmp_path, "alex"))
    large, small = (two_pictures(side) for side in (31, 30))
    assert loaded.distances([large[0]], [large[1]])[0] >= 0
    with pytest.raises(NotMeasuredError, match="at least 31 pixels for alex"):
        loaded.distances([small[0]], [small[1]])
