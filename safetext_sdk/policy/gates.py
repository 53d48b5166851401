"""Release gates as a policy writes them. It knows no metric; see `load.load_policy`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .base import Finite, Identifier, PolicyModel


class Gate(PolicyModel):
    """One threshold. The verdict uses the one-sided 95 % bound of the figure, never the figure itself."""

    max: Finite | None = Field(default=None, description="Passes if the upper bound is at most this.")
    min: Finite | None = Field(default=None, description="Passes if the lower bound is at least this.")

    if_unmeasured: Literal["inconclusive", "leave_out"] = Field(
        default="inconclusive",
        description="What follows where a model cannot be measured on this (one that draws no pictures, for "
        "instance): inconclusive, or the gate is left out of the verdict, and named there as left out.",
    )

    @model_validator(mode="after")
    def _one_side(self) -> Gate:
        if (self.max is None) == (self.min is None):
            raise PydanticCustomError("one_side", "give either max or min")
        return self


Gates = dict[Identifier, Gate]
"""Release thresholds by metric."""
