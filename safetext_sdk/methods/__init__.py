"""Hardening methods: one folder each, one line of registration. Listing imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lazy import lazy_attributes
from ..registry import Registry
from .base import Method, MethodConfig, make_config

if TYPE_CHECKING:
    from .anchor import Anchor, AnchorConfig
    from .batch import Batch, StepInputs
    from .context import MethodContext
    from .prompt_table import PromptTable
    from .safetext import SafeText, SafeTextConfig

METHODS: Registry[type[Method[Any]]] = Registry("method", "safetext.methods")
METHODS.add(
    "anchor",
    "safetext_sdk.methods.anchor:Anchor",
    "unsafe prompts are redirected to their anchor prompt (the default)",
)
METHODS.add(
    "safetext",
    "safetext_sdk.methods.safetext:SafeText",
    "the paper's loss: unsafe prompts are turned away from where they were",
)

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Anchor": ".anchor",
        "AnchorConfig": ".anchor",
        "Batch": ".batch",
        "MethodContext": ".context",
        "PromptTable": ".prompt_table",
        "SafeText": ".safetext",
        "SafeTextConfig": ".safetext",
        "StepInputs": ".batch",
    },
)

__all__ = [
    "METHODS",
    "Anchor",
    "AnchorConfig",
    "Batch",
    "Method",
    "MethodConfig",
    "MethodContext",
    "PromptTable",
    "SafeText",
    "SafeTextConfig",
    "StepInputs",
    "make_config",
]
