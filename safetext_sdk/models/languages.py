"""Which languages beside English a model is hardened in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..policy.languages import Language

_SAMPLES: Mapping[Language, str] = {
    "es": "¿un pingüino pequeño? ¡más café, señor!",
    "fr": "où êtes-vous, français, à la forêt, Noël, cœur, été",
    "de": "Äpfel, Öl, Überraschung, schöne Straße, für",
    "it": "perché, così, però, più, città, è",
    "pt": "não, coração, você, à noite, avó, pé, lâmpada, ações",
    "zh": "桌子上的一个苹果，公园里的长椅",
    "ja": "机の上のリンゴ、公園のベンチ",
}
"""Harmless text with the letters of each language."""


def reads(tokenizer: Any, text: str) -> bool:
    """Whether no part of a text is lost as an unknown token."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    return unknown is None or unknown not in tokenizer(text, add_special_tokens=False)["input_ids"]


def languages_read(tokenizers: Mapping[str, Any], known: tuple[Language, ...]) -> tuple[Language, ...]:
    """Those of the languages that a family's encoders know which every one of these tokenizers reads. To an
    encoder whose tokenizer does not, all texts of a language look alike: nothing can be told apart in them.
    """
    return tuple(
        name for name in known if all(reads(tokenizer, _SAMPLES[name]) for tokenizer in tokenizers.values())
    )


def languages_of(model: str | None) -> tuple[Language, ...]:
    """What a model of the catalogue is hardened in, by its id; () for any other id and for None."""
    from .catalogue import CATALOGUE

    if model is None or model not in CATALOGUE:
        return ()
    from .families import FAMILIES

    return FAMILIES.get(CATALOGUE[model].family).languages
