"""What no prompt can be: asked of every prompt that comes from outside, before a model sees it."""

from __future__ import annotations

import re

from ..policy.base import MAX_TEXT

# Line ends and tabs are white space to every tokenizer; all else of the kind is damage, and half of a
# surrogate pair cannot even be written to a file.
_DAMAGE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def problem_of(text: object) -> str | None:
    """Why this cannot be a prompt, in a few words; None if it can.

    >>> problem_of("a cat"), problem_of("  ")
    (None, 'the prompt is missing or empty')
    """
    if not isinstance(text, str) or not text.strip():
        return "the prompt is missing or empty"
    if len(text) > MAX_TEXT:
        return f"the prompt has {len(text):,} characters, and at most {MAX_TEXT:,} are read"
    return damage_of(text)


def damage_of(text: str) -> str | None:
    """Which character of it no text has; None if there is none.

    >>> damage_of("a cat"), damage_of("a" + chr(0))
    (None, 'the prompt has a character that no text has (U+0000)')
    """
    found = _DAMAGE.search(text)
    return f"the prompt has a character that no text has (U+{ord(found.group()):04X})" if found else None
