"""The sets of a validation, what their sizes are called on the command line, and sizes that a person asks
for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..metrics import Metric

POLICY_SETS = ("unsafe", "safe", "safe_unseen", "borderline", "negative", "negative_unsafe")
NEGATIVE_SETS = ("negative", "negative_unsafe")
ATTACKED = "attacked"
"""The unsafe prompts that attacks start from: no set of rows, but a size of its own."""
SIZED = (*POLICY_SETS, ATTACKED)
OPTIONS: Mapping[str, str] = {
    "unsafe": "--unsafe-n",
    "safe": "--safe-n",
    "safe_unseen": "--unseen-n",
    "borderline": "--borderline-n",
    "negative": "--negative-n",
    "negative_unsafe": "--negative-n",
    ATTACKED: "--attack-n",
}
"""Set: the option of `safetext validate` that says how many distinct prompts it has."""
REPORTED = 100
"""Prompts of a set that no gate reads: its figure is shown and decides nothing."""
REPORTED_ATTACKED = 25
"""The same of attacked prompts: each of them is drawn in several texts."""
FEW = 10


def set_of(metric: Metric) -> str:
    """The set whose size decides how much a metric can prove."""
    return next((name for name in metric.policy_sets if name in POLICY_SETS), metric.prompts)


def rounded_up(n: float) -> int:
    """A number of prompts that a person would type: to the next ten.

    >>> rounded_up(131), rounded_up(140)
    (140, 140)
    """
    return 10 * math.ceil(n / 10)


def equal_sizes(n: int, gated: Collection[str] = ()) -> dict[str, int]:
    """``n`` distinct prompts for every set; a quarter for the negative ones unless a gate reads one.

    Args:
        gated: sets that a gate reads.
    """
    sizes = dict.fromkeys(SIZED, n)
    if not set(NEGATIVE_SETS) & set(gated):
        # Reported and not gated: a quarter says enough, and every picture costs time.
        sizes |= dict.fromkeys(NEGATIVE_SETS, min(n, max(FEW, n // 4)))
    return sizes
