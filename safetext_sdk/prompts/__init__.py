"""A policy's prompts: gathered, split into train, validation and test, expanded, and checked to be disjoint.

No torch in this package. `build` is the whole pass; prompts come from sources that register themselves
(`sources.PROMPT_SOURCES`, contract in `candidate`).
"""

from .build import build_prompt_book
from .candidate import Candidate, Pair, PromptSource
from .prompt_book import PromptBook, SafePrompt, Split, UnsafePrompt

__all__ = [
    "Candidate",
    "Pair",
    "PromptBook",
    "PromptSource",
    "SafePrompt",
    "Split",
    "UnsafePrompt",
    "build_prompt_book",
]
