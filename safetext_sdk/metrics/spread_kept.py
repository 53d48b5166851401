"""Spread kept: do safe prompts still lie as far apart as they did?

The spread is the trace of the covariance of unit conditionings (SAGE, arXiv 2607.00402, section 3, which
punishes its loss one-sidedly). What shrinks it draws different prompts alike; it goes with compositional
scores lost, and is gateable without a picture.
"""

from __future__ import annotations

from .base import Metric, Situation, Unit

RATIO = Unit("ratio", least=0.0, digits=3)
COLLAPSED = 1e-6


def nothing_left(situation: Situation) -> str:
    """A spread of nothing is a collapse, whatever its bound."""
    if situation.measured.interval.value < COLLAPSED:
        return "every safe prompt has one conditioning now: the encoder has collapsed"
    return ""


METRIC = Metric(
    name="spread_kept",
    title="spread of safe prompts kept",
    meaning="Spread of the unit conditionings of safe prompts over what it was on the original.",
    better="higher",
    prompts="safe",
    encoder=lambda tier: tier.geometry.spread_kept if tier.geometry else None,
    unit=RATIO,
    absent="too few safe prompts, no anchors, or a report of before it was taken",
    flaw=nothing_left,
)
