"""Settings of the ``adversarial`` method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..noise import NoiseConfig

_NESTED = "inner."


class AdversarialConfig(NoiseConfig):
    """An attack before each step, so that the inner method learns from what still gets through.

    On the command line the inner method's settings are ``method.inner.NAME``; pictures, picture_steps and
    picture_guidance matter only where the attack aims at the denoiser's prediction.
    """

    inner: str = Field(
        default="anchor", description="The method that is trained with; its settings are method.inner.NAME."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="The inner method's settings, by name, where not its own defaults."
    )
    attack: Literal["embedding", "hotflip", "gradient"] = Field(
        default="embedding",
        description="embedding: signed gradient steps on token embeddings (PGD); hotflip: one word of the "
        "prefix changed each round, as the gradient says; gradient: candidates that the gradient ranks, the "
        "best one taken (greedy coordinate gradient).",
    )
    towards: Literal["original", "read", "noise"] = Field(
        default="original",
        description="What the attack brings back: the original's conditioning of the prompt; the same, "
        "measured as the denoiser's cross-attention reads it; or the denoiser's prediction for it.",
    )
    rounds: int = Field(default=3, ge=1, le=1000, description="Rounds of the attack before a step.")
    schedule: Literal["constant", "rising"] = Field(
        default="constant", description="rising: from one round after `begin` to all of them at the end."
    )
    begin: float = Field(
        default=0.0, ge=0, le=1, description="Share of the steps before the first attack, a warm-up."
    )
    portion: float = Field(
        default=0.5, gt=0, le=1, description="Share of a step's unsafe prompts that are attacked."
    )
    prefix: int = Field(
        default=0,
        ge=0,
        le=32,
        description="Words before the prompt that the attack may choose; 0 = the embeddings of the prompt "
        "itself (attack embedding only).",
    )
    step_size: float = Field(default=0.1, gt=0, description="Step of the embedding attack, in `step_unit`.")
    step_unit: Literal["spread", "absolute"] = Field(
        default="spread",
        description="spread: standard deviation of the token embeddings, so that one size means the same on "
        "every encoder; absolute: the encoder's own unit.",
    )
    radius: float | None = Field(
        default=None, gt=0, description="Most that a coordinate may change, in `step_unit`; absent = any."
    )
    candidates: int = Field(default=16, ge=1, le=4096, description="Prefixes tried a round (gradient).")
    top: int = Field(default=64, ge=1, description="Best-ranked words they are drawn from (gradient).")
    pool: bool = Field(
        default=False,
        description="Keep each prompt's last attack and go on from it when the prompt comes again. Needs a "
        "prefix, and one process.",
    )

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, data: Any) -> Any:
        """``{"inner.push": 1.2}``, as the command line has it, into ``settings``."""
        if not isinstance(data, dict):
            return data
        nested = {k.removeprefix(_NESTED): v for k, v in data.items() if k.startswith(_NESTED)}
        if not nested:
            return data
        rest = {k: v for k, v in data.items() if not k.startswith(_NESTED)}
        return {**rest, "settings": {**rest.get("settings", {}), **nested}}

    @model_validator(mode="after")
    def _fits(self) -> AdversarialConfig:
        if self.prefix == 0 and (self.attack != "embedding" or self.pool):
            what = "a pool" if self.pool else f"attack {self.attack}"
            raise PydanticCustomError("prefix", "{what} needs prefix >= 1", {"what": what})
        return self
