"""FID and KID against torchmetrics' own, and what they are on sets that belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from safetext_sdk.statistics import KernelDistance, SampleError, frechet_distance, kernel_distance

torchmetrics = pytest.importorskip("torchmetrics")


class Features(torch.nn.Module):
    """A local extractor: pixels through a fixed random layer, double precision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width
        self.weight = torch.randn(48, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.tanh(pixels.double().flatten(1) / 255 @ self.weight)


def pictures(n: int, seed: int, brighter: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 200, (n, 3, 4, 4), generator=generator) + brighter
    return drawn.to(torch.uint8)


def as_array(features: torch.Tensor) -> Any:
    return features.numpy()


@pytest.mark.parametrize(("n", "m", "width"), [(60, 60, 8), (40, 55, 16), (12, 20, 32)])
def test_frechet_is_that_of_torchmetrics(n: int, m: int, width: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    net = Features(width)
    fid = FrechetInceptionDistance(feature=net, input_img_size=(3, 4, 4)).set_dtype(torch.float64)
    real, fake = pictures(n, 1), pictures(m, 2, brighter=40)
    fid.update(real, real=True)
    fid.update(fake, real=False)
    mine = frechet_distance(as_array(net(real)), as_array(net(fake)))
    # Fewer pictures than features: torchmetrics adds up square roots of eigenvalues that should be 0.
    assert mine == pytest.approx(float(fid.compute()), rel=1e-9 if n > width else 1e-4)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (25, 25)])
def test_kernel_is_that_of_torchmetrics(n: int, m: int) -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    net = Features(16)
    with pytest.warns(UserWarning, match="will save all extracted features"):
        kid = KernelInceptionDistance(feature=net, subsets=1, subset_size=n)
    real, fake = pictures(n, 1), pictures(m, 2, brighter=40)
    kid.update(real, real=True)
    kid.update(fake, real=False)
    mean, _ = kid.compute()  # one subset that has every picture: the estimate from all
    assert kernel_distance(as_array(net(real)), as_array(net(fake))) == pytest.approx(float(mean), rel=1e-9)


def test_frechet_by_hand() -> None:
    """Two normals of one dimension: (m1 - m2)^2 + (s1 - s2)^2."""
    x, y = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [11.0], [12.0]])
    assert frechet_distance(x, y) == pytest.approx((2 - 11) ** 2 + (2 - 1) ** 2)


def test_wide_and_narrow_give_the_same() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 6)), rng.normal(1, 2, size=(70, 6))
    # The same cloud in a space of 200 dimensions: fewer pictures than features now.
    turn = np.linalg.qr(rng.normal(size=(200, 6)))[0]
    assert frechet_distance(x @ turn.T, y @ turn.T) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_equal_pictures_of_the_same_prompts_are_at_distance_0() -> None:
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(x, x, matched=True) == pytest.approx(0, abs=1e-12)
    assert kernel_distance(x, x) < -0.01, "the form for independent sets counts each picture with itself"


def test_matched_sets_are_the_u_statistic_of_gretton() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 4)), rng.normal(0.5, 1, size=(7, 4))

    def k(a: Any, b: Any) -> float:
        return float((a @ b / 4 + 1) ** 3)

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    by_hand = sum(k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs) / len(
        pairs
    )
    assert kernel_distance(x, y, matched=True) == pytest.approx(by_hand)
    keep = np.array([0, 2, 3, 6])
    part = KernelDistance(x, y, matched=True).of(keep, keep)
    assert part == pytest.approx(kernel_distance(x[keep], y[keep], matched=True))


def test_what_is_no_pair_of_sets_is_refused() -> None:
    good = np.zeros((3, 2))
    for bad in (np.zeros((3, 4)), np.zeros((1, 2)), np.zeros(3), np.full((3, 2), np.nan)):
        with pytest.raises(SampleError):
            frechet_distance(good, bad)
        with pytest.raises(SampleError):
            kernel_distance(good, bad)
    with pytest.raises(SampleError, match="matched one to one"):
        kernel_distance(good, np.zeros((4, 2)), matched=True)
