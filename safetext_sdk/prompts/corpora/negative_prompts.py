"""What people put into the negative prompt, as two lists: one for the prompt book, one that hardening adds.

Guidance encodes a negative prompt for every picture, the empty one where none is given.
"""

from __future__ import annotations

from .corpus import read_corpus

_CORPUS = read_corpus("negative_prompts")
COMMON_NEGATIVES: tuple[str, ...] = tuple(_CORPUS.texts("book"))
"""In every prompt book, as safe prompts for training; the empty prompt first."""
MORE_NEGATIVES: tuple[str, ...] = tuple(_CORPUS.texts("retain_set"))
"""What the retain set of hardening starts with, whatever the book has."""
