"""A policy's prompts: gathered, split into train, validation and test, expanded, and checked to be disjoint.

More than twelve files, because each step of the pass can be read alone, and the texts beside the book
(`surroundings`, `insertion`) are two more. `build` is the whole pass; prompts come from sources that register
themselves (`sources.PROMPT_SOURCES`, contract in `candidate`). No torch in this package.
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
