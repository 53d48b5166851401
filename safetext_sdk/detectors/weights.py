"""Weights of detectors: where they lie, their hashes, and that they are those the policy asks for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import DetectorError, ModelError
from ..files import sha256_file
from ..hub import download


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
    configs = sorted(
        p for p in folder.glob("*.json") if p.name in ("config.json", "preprocessor_config.json")
    )
    digest = hashlib.sha256()
    for path in [*weights, *configs]:
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


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
    try:
        return download(ref, revision, ["*.safetensors", "*.json", "*.txt", "*.model"])[0]
    except ModelError as error:
        raise DetectorError(
            f"detector model {ref!r} is not a folder and cannot be downloaded: {error}"
        ) from error
