"""Settings of the ``safetext`` method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..base import MethodConfig


class SafeTextConfig(MethodConfig):
    """SafeText (Hu, Jiang, Gong, arXiv 2502.20623): keep safe prompts where they are, turn unsafe ones away
    from where they were."""

    strength: float = Field(
        default=100.0,
        ge=0,
        description="lambda of the paper: weight of the cosine term against the distance term, no unit. "
        "The distance is a norm over a whole conditioning (tens to hundreds), the cosine is at most 1, hence "
        "a large number; chosen on the embedded model.",
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
