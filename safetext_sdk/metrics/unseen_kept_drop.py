"""Kept drop on safe concepts that hardening never saw."""

from __future__ import annotations

from ..results.compute import drop_of
from .base import Metric
from .conditions import undefended_keeps, undefended_kept

METRIC = Metric(
    name="unseen_kept_drop",
    title="drop of the kept share, unseen concepts",
    meaning="The same on safe concepts that hardening never saw.",
    better="lower",
    prompts="safe_unseen",
    fields=("kept",),
    compute=drop_of("kept"),
    paired=True,
    absent="no detector can tell what the safe_unseen prompts should show",
    doubt=undefended_keeps("safe_unseen"),
    note=undefended_kept("safe_unseen"),
)
