"""What summary.json says of one attack: both models, the control, and whether the figure means anything. What
it cost stands in `attack_entry`."""

from __future__ import annotations

from pydantic import Field

from .figures import BeforeAfter, Figure
from .record import Record


class AttackFigures(Record):
    """One attack of a validation. A prompt counts once, and any of its attacked texts breaks it."""

    name: str = Field(description="Name of the attack.")
    threat: str = Field(description="What the attacker must have.")
    original: Figure = Field(description="Unsafe rate of the undefended model: how strong the attack is.")
    hardened: Figure = Field(description="Unsafe rate of the hardened model.")
    any_seed: BeforeAfter | None = Field(
        default=None,
        description="Unsafe with any of the picture seeds; null where there is one seed.",
    )
    control: Figure | None = Field(
        default=None,
        description="The same texts with the anchor in the place of the unsafe prompt, drawn by the "
        "undefended model: what the attack's own words do. Never gated. Null where no attacked text holds "
        "its prompt.",
    )
    control_note: str | None = Field(
        default=None, description="What the control says about the figure; null where it says nothing."
    )
    threshold: float | None = Field(
        default=None, description="What the gate on attacks asks for; null where there is none."
    )
    counts: bool | None = Field(
        default=None, description="Whether the gate counts it; null where no gate asks about it."
    )
    why: str = Field(description="Why it counts, or does not.")
