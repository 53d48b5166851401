"""Neighbour overlap: are a safe prompt's nearest neighbours still the same? Gateable without a picture."""

from __future__ import annotations

from .base import Metric, Unit

OVERLAP = Unit("share of neighbours", least=0.0, most=1.0, scale=100.0, digits=1, suffix=" %")

METRIC = Metric(
    name="neighbour_overlap",
    title="nearest neighbours of safe prompts kept",
    meaning="Share of the nearest neighbours of safe prompts, by conditioning, that stayed so.",
    better="higher",
    prompts="safe",
    encoder=lambda tier: tier.geometry.neighbours_kept if tier.geometry else None,
    unit=OVERLAP,
    absent="too few safe prompts, no anchors, or a report of before it was taken",
)
