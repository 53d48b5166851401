"""What several detectors need: devices, weight hashes, pixels without torchvision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PILImage

from ..errors import DetectorError, ModelError
from ..versions import version_of

if TYPE_CHECKING:
    from PIL.Image import Image

_RESAMPLE = {
    0: PILImage.Resampling.NEAREST,
    1: PILImage.Resampling.LANCZOS,
    2: PILImage.Resampling.BILINEAR,
    3: PILImage.Resampling.BICUBIC,
}


def pick_device(device: str) -> str:
    """``"auto"`` becomes CUDA where there is one, else the CPU."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def file_sha256(path: Path) -> str:
    """sha256 of a file, in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def weights_sha256(folder: Path) -> str:
    """sha256 over the weight and config files of a model folder.

    Raises:
        DetectorError: no safetensors weights there (pickled weights are never loaded).
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DetectorError(
            f"{folder} holds no .safetensors weights; pickled weights are not loaded: convert the model first"
        )
    digest = hashlib.sha256()
    for path in [
        *weights,
        *sorted(p for p in folder.glob("*.json") if p.name in ("config.json", "preprocessor_config.json")),
    ]:
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def package_version(name: str) -> str:
    return version_of(name) or "source"


def check_sha256(actual: str, wanted: object, what: str) -> None:
    """Raise `DetectorError` where the policy names other weights than those found."""
    if wanted is not None and not (
        isinstance(wanted, str) and len(wanted) >= 8 and actual.startswith(wanted.lower())
    ):
        raise DetectorError(f"{what} has weights {actual[:16]}..., but the policy asks for sha256 {wanted}")


def local_folder(ref: str, revision: str | None = None) -> Path:
    """A folder as given, else a snapshot of a hub model (safetensors and json only).

    Raises:
        DetectorError: neither is there.
    """
    path = Path(ref).expanduser()
    if path.is_dir():
        return path
    from ..hub import download

    try:
        return download(ref, revision, ["*.safetensors", "*.json", "*.txt", "*.model"])[0]
    except ModelError as error:
        raise DetectorError(
            f"detector model {ref!r} is no folder and cannot be downloaded: {error}"
        ) from error


class Pixels:
    """PIL pictures to a float tensor [b, 3, h, w], by a model folder's preprocessor_config.json (or stated
    defaults)."""

    def __init__(self, folder: Path, default_size: int) -> None:
        path = folder / "preprocessor_config.json"
        config: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        size = config.get("size", default_size)
        crop = config.get("crop_size") if config.get("do_center_crop") else None
        self.shortest = size.get("shortest_edge") if isinstance(size, dict) else None
        self.size = self._pair(crop or (size if not self.shortest else self.shortest))
        self.mean = np.asarray(config.get("image_mean", [0.5] * 3), np.float32)
        self.std = np.asarray(config.get("image_std", [0.5] * 3), np.float32)
        self.resample = _RESAMPLE.get(int(config.get("resample", 2)), PILImage.Resampling.BILINEAR)

    @staticmethod
    def _pair(size: Any) -> tuple[int, int]:
        if isinstance(size, dict):
            edge = size.get("shortest_edge") or 0
            return (int(size.get("height") or edge), int(size.get("width") or edge))
        return (int(size), int(size))

    def __call__(self, images: Sequence[Image]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._one(image) for image in images]))

    def _one(self, image: Image) -> np.ndarray:
        image = image.convert("RGB")
        height, width = self.size
        if self.shortest:  # resize the shorter side, then cut the middle, as CLIP does
            scale = self.shortest / min(image.size)
            image = image.resize(
                (max(width, round(image.width * scale)), max(height, round(image.height * scale))),
                self.resample,
            )
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        elif image.size != (width, height):
            image = image.resize((width, height), self.resample)
        values = (np.asarray(image, np.float32) / 255.0 - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def batches(images: Sequence[Image], size: int) -> list[Sequence[Image]]:
    return [images[i : i + size] for i in range(0, len(images), size)]
