"""Harden the text encoder of a text-to-image model against unsafe prompts, prove it, gate it, ship it.

    import safetext_sdk as st

    policy = st.load_policy("weapons")
    hardened = st.harden(st.load_model("tiny"), policy, out="runs/weapons")
    report = st.validate(None, hardened, policy)
    verdict = st.gate(report, policy)

Each arrow of the flow is one function here. Importing this package imports no torch; the first call does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    DetectorError,
    InterruptedRun,
    MissingExtraError,
    ModelError,
    NotHardenedError,
    PolicyError,
    RunError,
    SafeTextError,
    UsageError,
)
from .lazy import lazy_attributes

if TYPE_CHECKING:
    from .flow import attack, audit, compare, diff, gate, load_policy, rejudge, validate
    from .hardening.harden import harden
    from .models.loading import load_model
    from .models.model import HardenedModel, TextToImageModel
    from .models.run_folder import RunFolder
    from .policy.load import shipped_policies
    from .policy.merge import merge_policies
    from .policy.schema import Policy
    from .prompts.build import build_prompt_book
    from .results.report import Report
    from .verdict.decision import Verdict
    from .verification.guard import guard

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "HardenedModel": ".models.model",
        "Policy": ".policy.schema",
        "Report": ".results.report",
        "RunFolder": ".models.run_folder",
        "TextToImageModel": ".models.model",
        "Verdict": ".verdict.decision",
        "attack": ".flow",
        "audit": ".flow",
        "build_prompt_book": ".prompts.build",
        "compare": ".flow",
        "diff": ".flow",
        "gate": ".flow",
        "guard": ".verification.guard",
        "harden": ".hardening.harden",
        "load_model": ".models.loading",
        "load_policy": ".flow",
        "merge_policies": ".policy.merge",
        "rejudge": ".flow",
        "shipped_policies": ".policy.load",
        "validate": ".flow",
    },
)

__all__ = [
    "DetectorError",
    "HardenedModel",
    "InterruptedRun",
    "MissingExtraError",
    "ModelError",
    "NotHardenedError",
    "Policy",
    "PolicyError",
    "Report",
    "RunError",
    "RunFolder",
    "SafeTextError",
    "TextToImageModel",
    "UsageError",
    "Verdict",
    "attack",
    "audit",
    "build_prompt_book",
    "compare",
    "diff",
    "gate",
    "guard",
    "harden",
    "load_model",
    "load_policy",
    "merge_policies",
    "rejudge",
    "shipped_policies",
    "validate",
]
