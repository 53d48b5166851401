"""Hardening methods: one folder each, one line of registration. Listing imports no torch."""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .base import Batch, Method, MethodConfig, make_config

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

__all__ = ["METHODS", "Batch", "Method", "MethodConfig", "make_config"]
