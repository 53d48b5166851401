"""FID: Frechet distance between features of safe pictures before and after (Heusel et al. 2017).

With few pictures it is too large, and that is said beside it: the jackknife estimates by how much. Figures
of different extractors, resizings or numbers of pictures are not comparable.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..statistics.feature_distances import frechet_distance
from ..statistics.intervals import Interval
from ..statistics.jackknife import jackknife
from .base import Metric, Unit
from .feature_sets import SET, FeatureMeasure
from .pictures import Pictures, Taken

FID = Unit("Frechet distance", least=0.0, digits=2)


class FrechetMeasure(FeatureMeasure):
    """On the pairs of the set."""

    name = "fid"

    def take(self, pictures: Pictures) -> Taken:
        found = self.compared(pictures)
        if found is None:
            return Taken(Interval(math.nan, 0.0, math.inf, 0), SET)

        def distance(keep: NDArray[np.intp]) -> float:
            reference = found.reference[keep] if found.matched else found.reference
            return frechet_distance(reference, found.hardened[keep])

        taken = jackknife(distance, [r.prompt for r in found.rows], [r.cluster for r in found.rows])
        count, width = found.hardened.shape
        small = f"{count} pictures, {width} features"
        if count <= width:
            small += " (fewer pictures than features)"
        bias = f"about {taken.bias:.2f} of it" if math.isfinite(taken.bias) else "an unknown part of it"
        return Taken(
            Interval(**{**vars(taken.interval), "lower": max(0.0, taken.interval.lower)}),
            SET,
            None if found.matched else frechet_distance(found.reference, found.original),
            notes=(f"{self.against()}; {small}: FID is too large at few pictures, here by {bias}",),
        )


METRIC = Metric(
    name="fid",
    title="FID of safe pictures",
    meaning="Frechet distance of safe pictures to the original's, or to a folder, by features.",
    better="lower",
    prompts="safe",
    pictures=FrechetMeasure,
    unit=FID,
    absent="fewer than two safe pictures were drawn by both models",
)
