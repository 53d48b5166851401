"""Harden the text encoder of a text-to-image model against unsafe prompts, prove it, gate it, ship it.

    import safetext_sdk as st

    policy = st.load_policy("weapons")
    hardened = st.harden(st.load_model("tiny"), policy, out="runs/weapons")
    report = st.validate(None, hardened, policy)
    verdict = st.gate(report, policy)

Each arrow of the flow is one function here. Importing this package imports no torch; the first call does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    DetectorError,
    InterruptedRun,
    MissingExtraError,
    ModelError,
    PolicyError,
    RunError,
    SafeTextError,
    UsageError,
)

if TYPE_CHECKING:
    from .hardening import harden
    from .models import HardenedModel, TextToImageModel, load_model
    from .policy import Policy, build_prompt_book, load_policy, merge_policies, shipped_policies
    from .runs import RunFolder
    from .validation import Report, Verdict, gate, validate

_LAZY = {
    "harden": "hardening",
    "HardenedModel": "models",
    "TextToImageModel": "models",
    "load_model": "models",
    "Policy": "policy",
    "build_prompt_book": "policy",
    "load_policy": "policy",
    "merge_policies": "policy",
    "shipped_policies": "policy",
    "RunFolder": "runs",
    "Report": "validation",
    "Verdict": "validation",
    "gate": "validation",
    "validate": "validation",
}

__all__ = [
    "DetectorError",
    "HardenedModel",
    "InterruptedRun",
    "MissingExtraError",
    "ModelError",
    "Policy",
    "PolicyError",
    "Report",
    "RunError",
    "RunFolder",
    "SafeTextError",
    "TextToImageModel",
    "UsageError",
    "Verdict",
    "build_prompt_book",
    "gate",
    "harden",
    "load_model",
    "load_policy",
    "merge_policies",
    "shipped_policies",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
