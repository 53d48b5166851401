"""Who tells whether a safe picture kept what its prompt names, as a policy writes it. It knows no judge."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .base import PolicyModel, Text


class KeptJudgeSpec(PolicyModel):
    """One judge of "kept", asked where no detector of the policy knows what a safe prompt names."""

    name: Text = Field(
        description="Name of a judge: clip-r-precision (the picture's own caption ranks first among 99 "
        "others) or another-seed (it moved less than another seed of the original moves it)."
    )
    models: list[Text] | None = Field(
        default=None, description="Use it only for these model ids; absent means every model."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the judge itself, e.g. {model: openai/clip-vit-base-patch32}.",
    )
