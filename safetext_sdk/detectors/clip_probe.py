"""Classifiers that are a CLIP and a handful of learned numbers: Q16 and its kind.

* **Learned prompts** (Q16: Schramowski, Tauchmann and Kersting, "Can machines help us answering question 16
  in datasheets?", FAccT 2022): a tensor ``prompts`` [classes, d]; softmax over 100 times the cosines, as
  Q16's code has it. The nearer one of two prompts is the one with a score of at least 0.5.
* **A linear probe** (as of LAION's CLIP-based NSFW detectors): ``weight`` [classes, d] and ``bias`` [classes]
  on the unit embedding; softmax, or sigmoid for one class and where the policy says multi-label.

The numbers come from a file of the user's: ``.safetensors``, or ``.npy`` with the learned prompts alone. A
pickle, as which Q16 is published, is refused: it runs code when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..device import pick_device
from ..errors import DetectorError
from ..files import sha256_file
from .base import Detector
from .clip_model import MODEL, load_clip
from .weights import check_sha256, local_folder

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec

THRESHOLD = 0.5
SCALE = 100.0
"""What Q16 multiplies cosines by, whatever the temperature of the CLIP."""


@dataclass(frozen=True, eq=False)
class Head:
    """The learned numbers: ``weight`` [classes, d]; ``bias`` [classes], None for learned prompts."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Of unit embeddings [n, d]: [n, classes]."""
        if self.bias is None:
            prompts = torch.nn.functional.normalize(self.weight, dim=-1)
            return SCALE * embeddings @ prompts.T
        return embeddings @ self.weight.T + self.bias


class ClipProbe:
    """A CLIP with a head on its picture embedding; ``classes`` name the rows of the head."""

    def __init__(self, folder: Path, path: Path, spec: DetectorSpec, device: str) -> None:
        self.labels, self.device = list(spec.labels), device
        self.threshold = THRESHOLD if spec.threshold is None else spec.threshold
        self.clip, self.head = load_clip(str(folder), device), read_head(path, device)
        digest = sha256_file(path)
        check_sha256(self.clip.sha256, spec.options.get("sha256"), f"clip-probe (the CLIP in {folder})")
        check_sha256(digest, spec.options.get("weights_sha256"), f"clip-probe ({path.name})")
        rows, width = self.head.weight.shape
        self.all_labels = [str(c) for c in spec.options.get("classes", ())]
        if len(self.all_labels) != rows or len(set(self.all_labels)) != rows:
            raise DetectorError(
                f"{path} has {rows} classes: name as many, in its order, in the option classes"
            )
        if unknown := [label for label in self.labels if label not in self.all_labels]:
            raise DetectorError(f"{', '.join(unknown)} is no class of {path}: {', '.join(self.all_labels)}")
        if width != (own := int(self.clip.model.config.projection_dim)):
            raise DetectorError(f"{path} is made for embeddings of {width} numbers, this CLIP gives {own}")
        self.sigmoid = bool(spec.options.get("multi_label", rows == 1))
        # What names the rows, and how they are weighed, decides every score as much as the weights do.
        told = "\n".join([*self.all_labels, "sigmoid" if self.sigmoid else "softmax"])
        read = hashlib.sha256(told.encode()).hexdigest()[:6]
        self.name = f"clip-probe/{path.stem}"
        self.version = f"{self.clip.sha256[:12]}+{digest[:12]}+c{read}"

    @torch.no_grad()
    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """Scores of all classes."""
        if not images:
            return []
        logits = self.head.logits(self.clip.images(images))
        scores = torch.sigmoid(logits) if self.sigmoid else torch.softmax(logits, -1)
        return [dict(zip(self.all_labels, values, strict=True)) for values in scores.tolist()]

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Empty: nothing says which words mean which class."""
        return ()


def read_head(path: Path, device: str = "cpu") -> Head:
    """The learned numbers of a file.

    Raises:
        DetectorError: it is not there, is a pickle, or holds something else.
    """
    if not path.is_file():
        raise DetectorError(f"the weights {path} of clip-probe do not exist")
    if path.suffix == ".npy":
        found = {"prompts": _numpy(path)}
    elif path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            found = load_file(path)
        except Exception as error:
            raise DetectorError(f"{path} cannot be read as safetensors: {error}") from error
    else:
        raise DetectorError(
            f"{path.name} is not read: a pickle runs code when it is opened; if you trust it: "
            "python -c \"import pickle, numpy; numpy.save('q16.npy', pickle.load(open('prompts.p', 'rb')))\""
            ", or `safetext convert` for a .pt of tensors"
        )
    weight, bias = found.get("prompts", found.get("weight")), found.get("bias")
    if weight is None or weight.ndim != 2 or (("prompts" in found) == (bias is not None)):
        raise DetectorError(
            f"{path} must hold prompts [classes, d], or weight [classes, d] and bias [classes]; it holds "
            + ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in found.items())
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise DetectorError(f"{path}: bias {list(bias.shape)} does not fit weight {list(weight.shape)}")
    if not all(torch.isfinite(t).all() for t in (weight, bias) if t is not None):
        raise DetectorError(f"{path} holds what is not a number")
    return Head(weight.float().to(device), None if bias is None else bias.float().to(device))


def _numpy(path: Path) -> torch.Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    except (ValueError, OSError, TypeError) as error:
        raise DetectorError(f"{path} cannot be read as an array of numbers: {error}") from error


def build(spec: DetectorSpec, device: str) -> list[Detector]:
    """Options: ``weights`` (path; required), ``classes`` (names of its rows; required), ``model`` (hub id or
    folder of the CLIP), ``revision``, ``sha256`` of the CLIP, ``weights_sha256``, ``multi_label``."""
    if not isinstance(spec.options.get("weights"), str):
        raise DetectorError("clip-probe needs the option weights: a .safetensors or .npy file")
    if not spec.labels:
        raise DetectorError("clip-probe needs labels: those of its classes that are unsafe")
    path = Path(str(spec.options["weights"])).expanduser()
    folder = local_folder(str(spec.options.get("model", MODEL)), spec.options.get("revision"))
    return [ClipProbe(folder, path, spec, str(pick_device(device)))]
