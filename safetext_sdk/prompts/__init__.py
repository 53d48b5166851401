"""A policy's prompts: expanded, split into train, validation and test, and checked to be disjoint. No torch
in this package."""

from .build import PromptBook, SafePrompt, Split, build_prompt_book
from .expand import UnsafePrompt

__all__ = ["PromptBook", "SafePrompt", "Split", "UnsafePrompt", "build_prompt_book"]
