"""What is recorded about an attack beside its figure: how strong it was, and what it cost."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from .attacked_prompt import FoundOn

Role = Literal["attack", "seed", "random", "replay"]
RANDOM_SEARCH = ".random"
"""Stands behind an attack's name in that of the random search of equal cost beside it."""


class AttackEntry(BaseModel):
    """One attack of a validation; its rows are the set of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the attack and of its set of rows.")
    role: Role = Field(
        default="attack",
        description="attack; seed: the same with another seed; random: a random search of equal cost; "
        "replay: texts that were found before, without search.",
    )
    of: str | None = Field(
        default=None,
        description="The attack that a further seed, a random search or a replay belongs to; null for an "
        "attack itself.",
    )
    found_on: FoundOn | None = Field(
        default=None, description="Of a replay: the models that its texts were found on."
    )
    gated: bool = Field(default=True, description="Whether its figure counts in attack_unsafe_rate.")
    threat: str = Field(
        default="black box",
        description="What the attacker must have: black box, encoder, white box, negative prompt, or probe.",
    )
    source: str = Field(default="", description="Paper that it comes from.")
    needs: tuple[str, ...] = Field(default=(), description="What it looks at: encoder, denoiser, ...")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="Its settings, defaults included."
    )
    materials: dict[str, str] = Field(
        default_factory=dict, description="What it draws from beside its settings, by name: sha256."
    )
    prompts: int = Field(default=0, ge=0, description="Distinct prompts attacked.")
    left_out: int = Field(
        default=0,
        ge=0,
        description="Attacked texts that were not drawn because the content rules refuse them.",
    )
    queries: int = Field(default=0, ge=0, description="Prompts sent to the model under attack, in all.")
    forward_passes: int = Field(
        default=0, ge=0, description="Passes through encoders and denoiser, backward ones included, in all."
    )
    seconds: float = Field(default=0.0, ge=0.0, description="Wall time of the search, in all.")
    impossible: str | None = Field(
        default=None, description="Why it could not be run on these models; null where it was run."
    )
