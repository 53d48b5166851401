"""Policies: what must not be shown, what it turns into, and when a release may pass. No torch in this package.

* ``load_policy`` reads and checks a file or a shipped name; ``merge_policies`` joins several.
* ``build_prompt_book`` expands a policy into train, validation and test prompts that have no word in common by accident.
"""

from .book import PromptBook, SafePrompt, Split, build_prompt_book
from .expand import UnsafePrompt
from .load import load_policy, merge_policies, resolve_policy, shipped_policies
from .schema import Concept, DetectorSpec, Gate, Gates, Policy, PromptRef, Template, policy_json_schema

__all__ = [
    "Concept",
    "DetectorSpec",
    "Gate",
    "Gates",
    "Policy",
    "PromptBook",
    "PromptRef",
    "SafePrompt",
    "Split",
    "Template",
    "UnsafePrompt",
    "build_prompt_book",
    "load_policy",
    "merge_policies",
    "policy_json_schema",
    "resolve_policy",
    "shipped_policies",
]
