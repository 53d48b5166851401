"""Metrics that are taken from pictures, as a policy asks for them. It knows no metric."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .base import Identifier, PolicyModel, Text


class MetricSpec(PolicyModel):
    """One metric that looks at the pictures themselves, and what it looks with."""

    name: Identifier = Field(
        description="Name of a metric: fid, lpips, clip_score (`safetext metrics list`)."
    )
    models: list[Text] | None = Field(
        default=None, description="Take it only for these model ids; absent means every model."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the metric itself, e.g. {extractor: inception.pt}."
    )
