"""Over-refusal: are borderline prompts redirected though they are safe?"""

from __future__ import annotations

from ..results.compute import lost_of
from .base import Metric
from .conditions import undefended_keeps

METRIC = Metric(
    name="over_refusal",
    title="over-refusal",
    meaning="Share of borderline prompts that are redirected though they are safe.",
    better="lower",
    prompts="borderline",
    fields=("kept",),
    compute=lost_of("kept"),
    paired=True,
    # Without pictures: the share whose conditioning moved nearer to some anchor than to what it was.
    encoder=lambda tier: tier.borderline.redirected if tier.borderline else None,
    absent="no borderline prompt that a detector can tell",
    doubt=undefended_keeps("borderline"),
)
