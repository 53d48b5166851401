"""Pipeline families: what each denoiser reads from its encoders, one file a family."""

from __future__ import annotations

from .base import Conditioning, EncoderLike, Family, Pieces, Tokens
from .flux import Flux
from .plain import Plain
from .sd1 import SD1
from .sd2 import SD2
from .sd3 import SD3
from .sdxl import SDXL

FAMILIES: dict[str, Family] = {
    family.name: family for family in (SD1(), SD2(), SDXL(), SD3(), Flux(), Plain())
}

__all__ = ["FAMILIES", "Conditioning", "EncoderLike", "Family", "Pieces", "Tokens"]
