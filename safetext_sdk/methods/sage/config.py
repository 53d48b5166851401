"""Settings of the ``sage`` method."""

from __future__ import annotations

from pydantic import Field

from ..des.config import DesConfig


class SageConfig(DesConfig):
    """SAGE (arXiv 2607.00402): DES, and safe prompts keep their spread and their neighbours."""

    strength: float = Field(
        default=0.82,
        ge=0,
        le=5,
        description="a of the paper, as in des: 205 on CLIP-L, where the mean size is about 250: 0.82.",
    )
    spread_weight: float = Field(
        default=2.0,
        ge=0,
        description="Weight of the spread that safe prompts have lost. What they gain costs nothing: a "
        "two-sided term doubles the attack rate (the paper's ablation).",
    )
    structure_weight: float = Field(
        default=0.1, ge=0, description="Weight of 1 minus the correlation of likeness to the neighbours."
    )
    neighbours: int = Field(
        default=15, ge=2, le=1000, description="Nearest safe prompts of the step whose likeness is kept."
    )
