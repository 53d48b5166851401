"""The languages that a policy's words may be in, and which of them are written without spaces."""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["es", "fr", "de", "it", "pt", "zh", "ja"]
"""Beside English."""
LATIN: tuple[Language, ...] = ("es", "fr", "de", "it", "pt")
"""Their terms are expanded for every model: there is no tokenizer that cannot read them."""
UNSPACED: tuple[Language, ...] = ("zh", "ja")
"""Their terms are expanded for models whose encoders read them. Nothing marks where a word ends."""
LANGUAGES: tuple[str, ...] = ("en", *LATIN, *UNSPACED)

KATAKANA = "\u30a0-\u30ff\uff66-\uff9f"
UNSPACED_LETTERS = f"\u3005-\u3007\u3040-\u309f{KATAKANA}\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Chinese characters and kana, for a character class."""
_UNSPACED = re.compile(f"[{UNSPACED_LETTERS}]")
_KANA = re.compile(f"[{KATAKANA}]")


def is_unspaced(text: str) -> bool:
    """Whether a text has a Chinese character or kana in it."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def anywhere(word: str) -> str:
    """A pattern for a word of these scripts, wherever it stands.

    Katakana spell foreign words out, and a run of them is one word: one that begins or ends with them must
    begin or end its run ("gun" is not in "Gundam").
    """
    head = rf"(?<![{KATAKANA}])" if _KANA.match(word[:1]) else ""
    tail = rf"(?![{KATAKANA}])" if _KANA.match(word[-1:]) else ""
    return f"{head}{re.escape(word)}{tail}"
