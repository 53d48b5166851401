"""Metric ``picture_shift``: how far safe pictures moved from the original's, in grey levels. No share."""

from __future__ import annotations

from collections.abc import Sequence

from safetext_sdk.metrics import Metric, Unit
from safetext_sdk.results.compute import Pair
from safetext_sdk.statistics import Interval, Scale, mean_bounds

GREY = Unit("grey levels", least=0.0, most=255.0, digits=2, suffix=" grey levels")


def distance(pairs: Sequence[Pair]) -> Interval:
    """Mean absolute difference at the same prompt and seed, with a studentised cluster bootstrap's bounds."""
    known = [after for _, after in pairs if after.change is not None]
    return mean_bounds(
        [255 * row.change.mean_abs for row in known if row.change is not None],
        [row.prompt for row in known],
        [row.cluster for row in known],
        Scale(GREY.least, GREY.most),
    )


METRIC = Metric(
    name="picture_shift",
    title="distance of safe pictures",
    meaning="Mean absolute difference of safe pictures to the original's, in grey levels.",
    better="lower",
    prompts="safe",
    fields=("change",),
    compute=distance,
    paired=True,
    unit=GREY,
)
