"""Kept drop: how many safe pictures no longer show everything that their prompts name?"""

from __future__ import annotations

from ..results.compute import drop_of
from .base import Metric
from .conditions import undefended_keeps, undefended_kept

METRIC = Metric(
    name="kept_drop",
    title="drop of the kept share",
    meaning="Drop of the share of safe pictures that show all that their prompts name (0.03 = 3 points).",
    better="lower",
    prompts="safe",
    fields=("kept",),
    compute=drop_of("kept"),
    paired=True,
    absent="no detector can tell what the safe prompts should show",
    doubt=undefended_keeps("safe"),
    note=undefended_kept("safe"),
)
