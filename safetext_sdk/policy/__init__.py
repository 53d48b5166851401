"""Policies: what must not be shown, what it turns into, and when a release may pass. No torch, no model, no
prompt generation here.

``load_policy`` reads and checks a file or a shipped name; ``merge_policies`` joins several.
"""

from .load import load_policy, merge_policies, resolve_policy, shipped_policies
from .schema import Concept, DetectorSpec, Gate, Gates, Policy, PromptRef, Template, policy_json_schema

__all__ = [
    "Concept",
    "DetectorSpec",
    "Gate",
    "Gates",
    "Policy",
    "PromptRef",
    "Template",
    "load_policy",
    "merge_policies",
    "policy_json_schema",
    "resolve_policy",
    "shipped_policies",
]
