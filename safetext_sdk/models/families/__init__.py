"""Pipeline families: all that is known about each, one file a family. Listing imports no torch.

One more is one file with a `Family` and one line here, or an entry point of the group ``safetext.families``
in a package of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UsageError
from ...lazy import lazy_attributes
from ...registry import Registry

if TYPE_CHECKING:
    from .base import EncoderSpec, Family
    from .conditioning import Conditioning, EncoderLike, Pieces, Tokens, piece_owner
    from .ldm_keys import SingleFile
    from .model_folder import EncoderPlace, ModelFolder

FAMILIES: Registry[Family] = Registry("family", "safetext.families")
FAMILIES.add("sd1", f"{__name__}.sd1:FAMILY", "Stable Diffusion 1.x")
FAMILIES.add("sd2", f"{__name__}.sd2:FAMILY", "Stable Diffusion 2.x")
FAMILIES.add("sdxl", f"{__name__}.sdxl:FAMILY", "Stable Diffusion XL")
FAMILIES.add("sd3", f"{__name__}.sd3:FAMILY", "Stable Diffusion 3.x")
FAMILIES.add("flux", f"{__name__}.flux:FAMILY", "FLUX.1")
FAMILIES.add("flux2", f"{__name__}.flux2:FAMILY", "FLUX.2 klein")
FAMILIES.add("flux2-dev", f"{__name__}.flux2_dev:FAMILY", "FLUX.2 dev")
FAMILIES.add("zimage", f"{__name__}.zimage:FAMILY", "Z-Image")
FAMILIES.add("qwenimage", f"{__name__}.qwenimage:FAMILY", "Qwen-Image")
FAMILIES.add("qwenimage21", f"{__name__}.qwenimage:FAMILY_21", "Qwen-Image 2.1")
FAMILIES.add("pixart", f"{__name__}.pixart:FAMILY", "PixArt-Sigma")
FAMILIES.add("chroma", f"{__name__}.chroma:FAMILY", "Chroma")
FAMILIES.add("auraflow", f"{__name__}.auraflow:FAMILY", "AuraFlow")
FAMILIES.add("sana", f"{__name__}.sana:FAMILY", "Sana")
FAMILIES.add("lumina2", f"{__name__}.lumina2:FAMILY", "Lumina 2")
FAMILIES.add("kandinsky5", f"{__name__}.kandinsky5:FAMILY", "Kandinsky 5")
FAMILIES.add("hidream", f"{__name__}.hidream:FAMILY", "HiDream-I1")
FAMILIES.add("plain", f"{__name__}.plain:FAMILY", "a text encoder without a denoiser")


def all_families() -> list[Family]:
    """Every family that can be imported; a broken plug-in warns and is left out."""
    found = []
    for name in FAMILIES.names():
        try:
            found.append(FAMILIES.get(name))
        except UsageError:  # the registry has warned
            continue
    return found


__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Conditioning": ".conditioning",
        "EncoderLike": ".conditioning",
        "EncoderPlace": ".model_folder",
        "EncoderSpec": ".base",
        "Family": ".base",
        "ModelFolder": ".model_folder",
        "Pieces": ".conditioning",
        "SingleFile": ".ldm_keys",
        "Tokens": ".conditioning",
        "piece_owner": ".conditioning",
    },
)


__all__ = [
    "FAMILIES",
    "Conditioning",
    "EncoderLike",
    "EncoderPlace",
    "EncoderSpec",
    "Family",
    "ModelFolder",
    "Pieces",
    "SingleFile",
    "Tokens",
    "all_families",
    "piece_owner",
]
