"""Models: the catalogue, loading, conditioning, writing. Importing this package imports no torch; its attributes are looked up
when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .catalogue import CATALOGUE, CatalogueEntry, EncoderInfo

if TYPE_CHECKING:
    from .canaries import compare, fingerprint
    from .conditioning import FAMILIES, Conditioning, EncoderLike, Family
    from .loading import load_model
    from .model import HardenedModel, TextToImageModel
    from .source import Source

_LAZY = {
    "FAMILIES": "conditioning", "Conditioning": "conditioning", "EncoderLike": "conditioning", "Family": "conditioning",
    "HardenedModel": "model", "TextToImageModel": "model", "Source": "source", "load_model": "loading",
    "compare": "canaries", "fingerprint": "canaries",
}  # fmt: skip

__all__ = [
    "CATALOGUE", "FAMILIES", "CatalogueEntry", "Conditioning", "EncoderInfo", "EncoderLike", "Family", "HardenedModel", "Source",
    "TextToImageModel", "compare", "fingerprint", "load_model",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
