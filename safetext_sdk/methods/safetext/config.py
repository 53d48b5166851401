"""Settings of the ``safetext`` method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..base import MethodConfig

_STRENGTHS = {"absolute": 100.0, "relative": 0.5}


class SafeTextConfig(MethodConfig):
    """SafeText (Hu, Jiang, Gong, arXiv 2502.20623): keep safe prompts where they are, turn unsafe ones away
    from where they were."""

    strength: float | None = Field(
        default=None,
        ge=0,
        description="lambda of the paper: weight of the cosine term against the distance term, no unit; "
        "absent = 0.5 for the relative distance, chosen on MiniLM, and 100 for the absolute one. That is a "
        "norm over a whole conditioning (tens to hundreds), the cosine at most 1, hence 100, chosen on the "
        "embedded model (where it is worth 0.52 relative).",
    )
    distance: Literal["absolute", "relative"] = Field(
        default="relative",
        description="What keeps safe prompts: ||f - f0|| / ||f0||, so that one strength means the same on "
        "every encoder, or ||f - f0|| as in the paper, in the encoder's own units.",
    )
    cosine: Literal["absolute", "signed"] = Field(
        default="signed",
        description="What is minimised: cos (aim: opposite) or |cos| (aim: perpendicular). The paper's "
        "text leaves it open; perpendicular moves less.",
    )
    turn: Literal["cosine", "euclidean"] = Field(
        default="cosine",
        description="What turns unsafe prompts away: the cosine, or the distance (as ``distance`` has it) "
        "with its sign changed, which the paper compares it with.",
    )
    kick: float = Field(
        default=1e-3,
        gt=0,
        le=0.1,
        description="Size of the random change to each trained tensor before the first step, as a share "
        "of its standard deviation. Where both encoders are equal the cosine has its maximum and its "
        "gradient is zero: training would not start.",
    )

    @property
    def weight(self) -> float:
        """The strength in use."""
        if self.strength is not None:
            return self.strength
        return _STRENGTHS[self.distance]
