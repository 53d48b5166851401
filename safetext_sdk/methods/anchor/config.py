"""Settings of the ``anchor`` method."""

from __future__ import annotations

from pydantic import Field

from ..base import MethodConfig


class AnchorConfig(MethodConfig):
    """Redirection: an unsafe prompt gets the conditioning of its anchor prompt, a safe prompt keeps its
    own."""

    safe_weight: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the safe term against the unsafe one, no unit. Higher keeps more of the "
        "safe prompts and redirects later.",
    )
    push: float = Field(
        default=0.0,
        ge=0,
        le=5,
        description="How far past the anchor the target lies, away from the concept: anchor - push * "
        "(original - anchor). 0 aims at the anchor itself, so that its picture is shown; 0.5 to 1.5 "
        "redirects unseen wordings further at the price of the anchor's picture.",
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Least lead that the cosine to the anchor should have over the cosine to the "
        "original; 0 leaves the term out.",
    )
    margin_weight: float = Field(
        default=0.5, ge=0, description="Weight of the margin term, no unit; counts only if margin > 0."
    )
    contrast: float = Field(
        default=0.0,
        ge=0,
        description="Weight of a contrastive term: each unsafe prompt should be nearer to its own anchor "
        "than to the other anchors of the same step. Keeps prompts from sharing few generic anchors; 0 "
        "leaves it out.",
    )
    contrast_anchors: int = Field(
        default=0,
        ge=0,
        description="How many further anchors of the policy, others at each step, the contrastive term "
        "tells each prompt apart from. Cheap where the original's outputs fit into train.cache_gb, else each "
        "of them is encoded at each step.",
    )
    temperature: float = Field(
        default=0.07,
        gt=0,
        le=1,
        description="Temperature of the contrastive term, no unit; smaller looks only at the nearest "
        "anchors.",
    )
