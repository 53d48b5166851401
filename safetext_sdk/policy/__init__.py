"""Policies: what must not be shown, what it turns into, and when a release may pass. No torch, no model, no
prompt generation here.

``load_policy`` reads and checks a file or a shipped name; ``merge_policies`` joins several.
"""

from .concept import Concept, Template
from .detector_spec import DetectorSpec
from .gates import Gate, Gates
from .json_schema import policy_json_schema
from .kept import KeptJudgeSpec
from .load import load_policy, resolve_policy, shipped_policies
from .merge import merge_policies
from .metric_spec import MetricSpec
from .prompt_ref import PromptRef
from .schema import Policy

__all__ = [
    "Concept",
    "DetectorSpec",
    "Gate",
    "Gates",
    "KeptJudgeSpec",
    "MetricSpec",
    "Policy",
    "PromptRef",
    "Template",
    "load_policy",
    "merge_policies",
    "policy_json_schema",
    "resolve_policy",
    "shipped_policies",
]
