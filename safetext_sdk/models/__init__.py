"""Models: the catalogue, loading, conditioning, writing. Importing this package imports no torch.

Thirteen files, because each has one step of the way from a name to a model and back: `catalogue`, `source`
(name to files), `checks`, `layout` (what the files are), `read_encoder`, `loading`, `model`, `pipelines`,
`writing`, `run_folder`, and beside it `canaries` and `onnx_encoder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_attributes
from .catalogue import CATALOGUE, CatalogueEntry, EncoderInfo

if TYPE_CHECKING:
    from .canaries import compare, fingerprint
    from .families import FAMILIES, Conditioning, EncoderLike, Family
    from .loading import load_model
    from .model import HardenedModel, TextToImageModel
    from .source import Source

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "FAMILIES": ".families",
        "Conditioning": ".families",
        "EncoderLike": ".families",
        "Family": ".families",
        "HardenedModel": ".model",
        "Source": ".source",
        "TextToImageModel": ".model",
        "compare": ".canaries",
        "fingerprint": ".canaries",
        "load_model": ".loading",
    },
)

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "CatalogueEntry",
    "Conditioning",
    "EncoderInfo",
    "EncoderLike",
    "Family",
    "HardenedModel",
    "Source",
    "TextToImageModel",
    "compare",
    "fingerprint",
    "load_model",
]
