"""Pictures to features for distances between sets of pictures: a TorchScript file, or a folder of a vision
model of transformers.

A TorchScript file is a program: it is run as it is, so take one from somebody that you trust. It gets uint8
pixels [n, 3, h, w] as they are and resizes them itself, as NVIDIA's Inception of FID does (and is asked for
features where it has a ``return_features``). A folder's own preprocessor says how its model wants pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from ..errors import DetectorError
from ..files import sha256_file
from ..quiet import quiet
from .pixels import Pixels, batches, to_rgb
from .weights import weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 32


class _Forward(Protocol):
    def __call__(self, images: Sequence[Image]) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A loaded extractor. ``name``: how the caller named it."""

    name: str
    form: str
    sha256: str
    forward: _Forward

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """For the record."""
        return {"name": self.name, "form": self.form, "sha256": self.sha256}

    @torch.no_grad()
    def images(self, images: Sequence[Image]) -> NDArray[np.float64]:
        """Features [n, d].

        Raises:
            DetectorError: what comes out is not one vector of numbers a picture.
        """
        parts = []
        for part in batches(images, BATCH):
            out = self.forward(part)
            if out.ndim > 2 and all(side == 1 for side in out.shape[2:]):
                out = out.flatten(1)
            if out.ndim != 2 or len(out) != len(part):
                raise DetectorError(f"{self.name} returned {tuple(out.shape)} for {len(part)} pictures")
            parts.append(out.double().cpu())
        found = torch.cat(parts)
        if not bool(torch.isfinite(found).all()):
            raise DetectorError(f"{self.name} returned features that are not numbers")
        return np.asarray(found.numpy(), np.float64)


@lru_cache(maxsize=4)
def load_extractor(ref: str, path: Path, device: str) -> FeatureExtractor:
    """An extractor from a TorchScript file or a model folder.

    Args:
        ref: how the caller named it.
        path: the file or folder.

    Raises:
        DetectorError: neither can be loaded, or a folder lacks weights of its model: transformers would make
            them up at random.
    """
    if path.is_file():
        return FeatureExtractor(ref, "TorchScript", sha256_file(path), _script(path, device))
    return FeatureExtractor(ref, "transformers", weights_sha256(path), _vision_model(path, device))


def _script(path: Path, device: str) -> _Forward:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch wants another format for new files
            module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise DetectorError(f"{path} is no TorchScript file: {str(error).splitlines()[0]}") from error
    asked = {"return_features": True} if _takes(module, "return_features") else {}

    def forward(images: Sequence[Image]) -> torch.Tensor:
        stacked = np.stack([np.asarray(to_rgb(image), np.uint8) for image in images])
        out: torch.Tensor = module(torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device), **asked)
        return out

    return forward


def _tensor(value: Any) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value


def _takes(module: Any, name: str) -> bool:
    return any(argument.name == name for argument in module.forward.schema.arguments)


def _vision_model(path: Path, device: str) -> _Forward:
    from transformers import AutoModel

    try:
        with quiet():
            model, found = AutoModel.from_pretrained(path, use_safetensors=True, output_loading_info=True)
    except Exception as error:
        raise DetectorError(f"no vision model can be loaded from {path}: {error}") from error
    missing = sorted(found["missing_keys"])
    pooled = not any("pooler" in key for key in missing)
    if lacking := [key for key in missing if "pooler" not in key]:
        raise DetectorError(f"the model in {path} lacks {len(lacking)} of its weights (first: {lacking[0]})")
    model = model.float().to(device).eval()
    config = getattr(model.config, "vision_config", model.config)
    pixels = Pixels(path, int(getattr(config, "image_size", None) or 224))

    def forward(images: Sequence[Image]) -> torch.Tensor:
        values = pixels(images).to(device)
        if hasattr(model, "get_image_features"):  # CLIP and its like: transformers 4 returns the tensor
            seen = model.get_image_features(pixel_values=values)
            return seen if isinstance(seen, torch.Tensor) else _tensor(seen.pooler_output)
        out = model(pixel_values=values)
        if pooled and getattr(out, "pooler_output", None) is not None:
            return _tensor(out.pooler_output)
        hidden = _tensor(out.last_hidden_state)
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))

    return forward
