"""Settings of the ``esd-encoder`` method."""

from __future__ import annotations

from pydantic import Field

from ..noise import NoiseConfig


class EsdEncoderConfig(NoiseConfig):
    """ESD's target (Gandikota et al. 2023, arXiv 2303.07345), with the text encoder trained in the denoiser's
    place as AdvUnlearn does (arXiv 2405.15234)."""

    guidance: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="eta of ESD: how far past the unconditional prediction the target lies, away from the "
        "concept's.",
    )
    safe_weight: float = Field(
        default=0.3, ge=0, description="Weight of what safe prompts predict, against the unsafe term."
    )
