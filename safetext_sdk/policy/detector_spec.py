"""One line of ``detectors:``: which image classifier, which labels, from which score on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .base import PolicyModel, Share, Text


class DetectorSpec(PolicyModel):
    """Which image classifier says that a picture shows the concept, and from which score on."""

    name: Text = Field(
        description="Name of a detector (`safetext detectors list`), e.g. tiny-judges, nudenet, "
        "clip-zero-shot, hf-image-classifier."
    )
    labels: list[Text] = Field(
        min_length=1,
        max_length=500,
        description="Labels (or, for clip-zero-shot, captions) that count as unsafe.",
    )
    threshold: Share | None = Field(
        default=None, description="Score from which a label counts; absent means the detector's own default."
    )
    models: list[Text] | None = Field(
        default=None, description="Use it only for these model ids; absent means every model."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the detector itself, e.g. {model: openai/clip-vit-base-patch32}.",
    )
