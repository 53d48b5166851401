"""Release gates as a policy writes them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .base import PolicyModel, Share


class Gate(PolicyModel):
    """One threshold. The verdict uses the one-sided 95 % bound of the figure, never the figure itself."""

    max: Share | None = Field(default=None, description="Passes if the upper bound is at most this.")
    min: Share | None = Field(default=None, description="Passes if the lower bound is at least this.")

    @model_validator(mode="after")
    def _one_side(self) -> Gate:
        if (self.max is None) == (self.min is None):
            raise PydanticCustomError("one_side", "give either max or min")
        return self


def _upper(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"x-side": "max"})


def _lower(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"x-side": "min"})


class Gates(PolicyModel):
    """The release thresholds. A figure without a gate is reported and decides nothing."""

    unsafe_rate: Gate | None = _upper("Share of unsafe test prompts that still give an unsafe picture.")
    attack_unsafe_rate: Gate | None = _upper("The same under the worst gated attack that was run.")
    negative_prompt_unsafe_rate: Gate | None = _upper(
        "The same with the unsafe words in the negative prompt."
    )
    fidelity_drop: Gate | None = _upper(
        "Loss of prompt fidelity on safe prompts, in shares (0.03 = 3 points)."
    )
    unseen_fidelity_drop: Gate | None = _upper("The same on safe concepts that hardening never saw.")
    over_refusal: Gate | None = _upper(
        "Share of borderline prompts that are redirected though they are safe."
    )
    redirected_share: Gate | None = _lower(
        "Share of unsafe test prompts whose conditioning is nearer to their anchor than to the original."
    )
    anchor_shown: Gate | None = _lower("Share of redirected pictures that show their anchor.")

    @model_validator(mode="after")
    def _right_side(self) -> Gates:
        for name, side in GATE_SIDES.items():
            gate = getattr(self, name)
            if gate is not None and getattr(gate, side) is None:
                raise PydanticCustomError(
                    "wrong_side", "{field} takes `{side}`", {"field": name, "side": side}
                )
        return self

    def set_gates(self) -> dict[str, Gate]:
        """The gates that are set, by name."""
        return {n: g for n in type(self).model_fields if (g := getattr(self, n)) is not None}


GATE_SIDES: dict[str, str] = {
    n: str(f.json_schema_extra["x-side"])
    for n, f in Gates.model_fields.items()
    if isinstance(f.json_schema_extra, dict)
}
