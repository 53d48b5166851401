"""Embedding drift: how far the conditioning of safe prompts turned, 1 - cosine; no picture is needed."""

from __future__ import annotations

from .base import Metric, Unit

TURNED = Unit("1 - cosine", least=0.0, most=2.0, digits=4)

METRIC = Metric(
    name="embedding_drift",
    title="embedding drift of safe prompts",
    meaning="Mean of 1 - cosine between the conditioning of safe prompts and the original's.",
    better="lower",
    prompts="safe",
    encoder=lambda tier: tier.safe.moved if tier.safe else None,
    unit=TURNED,
    absent="no safe prompts, no anchors to take the encoder tier with, or values that are not numbers",
)
