"""A CLIP for judging pictures: loaded from files of its own, apart from any encoder that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from ..errors import DetectorError
from ..quiet import quiet
from .pixels import Pixels, batches
from .weights import weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL = "openai/clip-vit-base-patch32"
"""The smallest CLIP of the original release; what a policy gets that names none."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Both towers of a CLIP, and the hash of their files."""

    model: Any
    tokenizer: Any
    pixels: Pixels
    sha256: str
    device: str

    @property
    def scale(self) -> torch.Tensor:
        """CLIP's own temperature: cosines are multiplied by it before a softmax. A number."""
        scale: torch.Tensor = self.model.logit_scale.exp().float()
        return scale

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Unit embeddings [n, d] of captions; what is longer than the model reads is cut."""
        ids = self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=int(self.model.config.text_config.max_position_embeddings),
            return_tensors="pt",
        ).to(self.device)
        return _unit(self.model.get_text_features(**ids))

    @torch.no_grad()
    def images(self, images: Sequence[Image], batch: int = 32) -> torch.Tensor:
        """Unit embeddings [n, d] of pictures."""
        parts = [
            _unit(self.model.get_image_features(pixel_values=self.pixels(part).to(self.device)))
            for part in batches(images, batch)
        ]
        return torch.cat(parts)


def _unit(output: Any) -> torch.Tensor:
    """transformers 5 returns an object where 4 returned the tensor."""
    tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return F.normalize(tensor.float(), dim=-1)


@lru_cache(maxsize=4)
def load_clip(folder: str, device: str) -> Clip:
    """A CLIP from a folder; one copy in memory however many judges use it.

    Raises:
        DetectorError: the folder holds no CLIP, or only one tower of it: transformers would make up the other
            one at random without an error.
    """
    from transformers import AutoTokenizer, CLIPModel

    path = Path(folder)
    digest = weights_sha256(path)
    try:
        with quiet():
            model, found = CLIPModel.from_pretrained(path, use_safetensors=True, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise DetectorError(f"no CLIP can be loaded from {path}: {error}") from error
    if missing := sorted(found["missing_keys"]):
        raise DetectorError(
            f"the CLIP in {path} lacks {len(missing)} of its weights (first: {missing[0]}); both "
            "towers are needed"
        )
    pixels = Pixels(path, int(model.config.vision_config.image_size))
    return Clip(model.float().to(device).eval(), tokenizer, pixels, digest, device)
