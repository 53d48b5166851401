"""The network of LPIPS: features of an ImageNet classifier, and learned weights of their channels.

Zhang, Isola, Efros, Shechtman, Wang 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", CVPR, equation 1; version 0.1 as the authors' package computes it. Neither that package nor
torchvision is needed: the layers are few, and the weights are read from safetensors under the names that both
give them (``features.0.weight``, ``lin0.model.1.weight``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import NotMeasuredError
from ..files import sha256_file

if TYPE_CHECKING:
    from PIL.Image import Image

HOW = (
    "give two safetensors files: torchvision's backbone (alexnet-owt-7be5be79.pth or vgg16-397923af.pth) "
    "and the heads of the lpips package (lpips/weights/v0.1/alex.pth or vgg.pth), each through `safetext "
    "convert FILE`: --set lpips.weights=alexnet.safetensors,alex.safetensors"
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10


@dataclass(frozen=True)
class Layer:
    """A convolution with its place in torchvision's ``features``, or a pooling (no place)."""

    place: int = -1
    stride: int = 1
    padding: int = 1
    pool: int = 0
    """Side of a max pooling with stride 2; 0: this is a convolution with a ReLU."""
    tap: bool = False
    """Whether its output is compared."""


NETS: dict[str, tuple[Layer, ...]] = {
    "alex": (
        Layer(0, stride=4, padding=2, tap=True),
        Layer(pool=3),
        Layer(3, padding=2, tap=True),
        Layer(pool=3),
        *(Layer(place, tap=True) for place in (6, 8, 10)),
    ),
    "vgg": (
        *(Layer(0), Layer(2, tap=True), Layer(pool=2)),
        *(Layer(5), Layer(7, tap=True), Layer(pool=2)),
        *(Layer(10), Layer(12), Layer(14, tap=True), Layer(pool=2)),
        *(Layer(17), Layer(19), Layer(21, tap=True), Layer(pool=2)),
        *(Layer(24), Layer(26), Layer(28, tap=True)),
    ),
}
LEAST_SIDE = {"alex": 31, "vgg": 16}
"""Pixels below which some layer has nothing left to look at."""
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


@dataclass(frozen=True, eq=False)
class Perceptual:
    """LPIPS with one backbone.

    Attributes:
        net: ``alex`` or ``vgg``.
        state: weights of backbone and heads.
        sha256: over the files.
    """

    net: str
    state: dict[str, Tensor]
    sha256: str
    device: str = "cpu"

    @classmethod
    def load(cls, files: Sequence[str | Path], device: str = "cpu") -> Perceptual:
        """From safetensors files that together have backbone and heads.

        Raises:
            NotMeasuredError: a file is not there, is no safetensors, or weights are missing.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        state: dict[str, Tensor] = {}
        digest = hashlib.sha256()
        for file in (Path(f).expanduser() for f in files):
            if not file.is_file():
                raise NotMeasuredError(f"there is no file {file} with LPIPS weights; {HOW}")
            try:
                state |= {k: v.float() for k, v in load_file(file).items()}
            except (SafetensorError, OSError) as error:
                raise NotMeasuredError(f"{file} is no safetensors file ({error}); {HOW}") from error
            digest.update(sha256_file(file).encode())
        nets = [n for n, sizes in CHANNELS.items() if _fits(state, sizes)]
        if not nets:
            raise NotMeasuredError(f"the files lack the heads lin0 to lin4 of alex or vgg; {HOW}")
        names = [f"features.{layer.place}" for layer in NETS[nets[0]] if not layer.pool]
        if lacking := [name for name in names if not {f"{name}.weight", f"{name}.bias"} <= state.keys()]:
            raise NotMeasuredError(f"the files lack {lacking[0]} of the {nets[0]} backbone; {HOW}")
        return cls(nets[0], {k: v.to(device) for k, v in state.items()}, digest.hexdigest(), device)

    @torch.no_grad()
    def distances(self, first: Sequence[Image], second: Sequence[Image]) -> list[float]:
        """LPIPS of each pair of equally large pictures.

        Raises:
            NotMeasuredError: they are too small.
        """
        if first and min(first[0].size) < LEAST_SIDE[self.net]:
            raise NotMeasuredError(
                f"pictures of {min(first[0].size)} pixels are too small for LPIPS: at least "
                f"{LEAST_SIDE[self.net]} pixels for {self.net}"
            )
        a, b = (self._features(self._pixels(images)) for images in (first, second))
        total = torch.zeros(len(first), device=self.device)
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            head = self.state[f"lin{k}.model.1.weight"]
            total += F.conv2d((_unit(x) - _unit(y)) ** 2, head).mean((1, 2, 3))
        return [float(x) for x in total.tolist()]

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        stacked = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images])
        pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(self.device) / 127.5 - 1
        shift, scale = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
        return (pixels - shift) / scale

    def _features(self, x: Tensor) -> list[Tensor]:
        out = []
        for layer in NETS[self.net]:
            if layer.pool:
                x = F.max_pool2d(x, layer.pool, 2)
                continue
            weight, bias = (self.state[f"features.{layer.place}.{part}"] for part in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, layer.stride, layer.padding))
            if layer.tap:
                out.append(x)
        return out


def _fits(state: dict[str, Tensor], channels: Sequence[int]) -> bool:
    heads = [state.get(f"lin{k}.model.1.weight") for k in range(len(channels))]
    return all(
        head is not None and tuple(head.shape) == (1, n, 1, 1)
        for head, n in zip(heads, channels, strict=True)
    )


def _unit(x: Tensor) -> Tensor:
    """Each place's channels to length 1; the epsilon stands where the authors' does."""
    return x / (x.pow(2).sum(1, keepdim=True).sqrt() + EPSILON)
