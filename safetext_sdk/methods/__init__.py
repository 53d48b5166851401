"""Hardening methods: one folder each, one line of registration. Listing imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lazy import lazy_attributes
from ..registry import Registry
from .base import Method, MethodConfig, make_config

if TYPE_CHECKING:
    from .adversarial import Adversarial, AdversarialConfig
    from .anchor import Anchor, AnchorConfig
    from .batch import Batch, StepInputs
    from .context import MethodContext
    from .des import Des, DesConfig
    from .esd_encoder import EsdEncoder, EsdEncoderConfig
    from .prompt_table import PromptTable
    from .safetext import SafeText, SafeTextConfig
    from .sage import Sage, SageConfig

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
METHODS.add(
    "des",
    "safetext_sdk.methods.des:Des",
    "unsafe prompts go to their least similar safe prompt, away from the concept's direction",
)
METHODS.add(
    "sage",
    "safetext_sdk.methods.sage:Sage",
    "des, and safe prompts keep their spread and their neighbours",
)
METHODS.add(
    "esd-encoder",
    "safetext_sdk.methods.esd_encoder:EsdEncoder",
    "the denoiser predicts for unsafe prompts what it predicts away from their concept",
)
METHODS.add(
    "adversarial",
    "safetext_sdk.methods.adversarial:Adversarial",
    "any other method, trained on prompts that an attack has changed (method.inner=NAME)",
)

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Adversarial": ".adversarial",
        "AdversarialConfig": ".adversarial",
        "Anchor": ".anchor",
        "AnchorConfig": ".anchor",
        "Batch": ".batch",
        "Des": ".des",
        "DesConfig": ".des",
        "EsdEncoder": ".esd_encoder",
        "EsdEncoderConfig": ".esd_encoder",
        "MethodContext": ".context",
        "PromptTable": ".prompt_table",
        "SafeText": ".safetext",
        "SafeTextConfig": ".safetext",
        "Sage": ".sage",
        "SageConfig": ".sage",
        "StepInputs": ".batch",
    },
)

__all__ = [
    "METHODS",
    "Adversarial",
    "AdversarialConfig",
    "Anchor",
    "AnchorConfig",
    "Batch",
    "Des",
    "DesConfig",
    "EsdEncoder",
    "EsdEncoderConfig",
    "Method",
    "MethodConfig",
    "MethodContext",
    "PromptTable",
    "SafeText",
    "SafeTextConfig",
    "Sage",
    "SageConfig",
    "StepInputs",
    "make_config",
]
