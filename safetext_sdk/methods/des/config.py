"""Settings of the ``des`` method."""

from __future__ import annotations

from pydantic import Field

from ..base import MethodConfig


class DesConfig(MethodConfig):
    """DES (Ahn, Jung, NeurIPS 2025, arXiv 2501.18877): unsafe prompts go to the least similar safe prompt,
    away from the concept; safe ones stay, also with the concept added."""

    safe_weight: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Weight of the terms that keep safe prompts; those on unsafe prompts and on the "
        "concept's word weigh 1 minus it (the paper's lambda_safe).",
    )
    strength: float = Field(
        default=0.8,
        ge=0,
        le=5,
        description="a of the paper, how far the concept's direction is added or taken away, as a share of "
        "the mean size of the original's outputs. 200 on CLIP-L, where that size is about 250: 0.8.",
    )
