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
        "absent = 100 for the absolute distance, 0.5 for the relative one. The absolute distance is a norm "
        "over a whole conditioning (tens to hundreds), the cosine is at most 1, hence 100, chosen on the "
        "embedded model (where it is worth 0.52 relative); 0.5 was chosen on MiniLM.",
    )
    distance: Literal["absolute", "relative"] = Field(
        default="absolute",
        description="What keeps safe prompts: ||f - f0|| as in the paper, in the encoder's own units, or "
        "||f - f0|| / ||f0||, so that one strength means the same on every encoder.",
    )
    cosine: Literal["absolute", "signed"] = Field(
        default="absolute",
        description="What is minimised: |cos| (aim: perpendicular) or cos (aim: opposite). The paper's "
        "text leaves it open; perpendicular moves less.",
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
