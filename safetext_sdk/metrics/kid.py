"""KID: unbiased kernel distance between features of safe pictures before and after (Binkowski et al. 2018).

Unlike FID it is not too large at few pictures, so it is the one to gate on; its standard error stands beside
it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..statistics.feature_distances import KernelDistance
from ..statistics.intervals import Interval
from ..statistics.jackknife import jackknife
from .base import Metric, Unit
from .feature_sets import SET, FeatureMeasure
from .pictures import Pictures, Taken

KID = Unit("kernel distance", digits=5)


class KernelMeasure(FeatureMeasure):
    """On the pairs of the set."""

    name = "kid"

    def take(self, pictures: Pictures) -> Taken:
        found = self.compared(pictures)
        if found is None:
            return Taken(Interval(math.nan, -math.inf, math.inf, 0), SET)
        kernels = KernelDistance(found.reference, found.hardened, matched=found.matched)
        everything = np.arange(len(found.reference))

        def distance(keep: NDArray[np.intp]) -> float:
            return kernels.of(keep if found.matched else everything, keep)

        taken = jackknife(distance, [r.prompt for r in found.rows], [r.cluster for r in found.rows])
        original = None
        if not found.matched:
            beside = KernelDistance(found.reference, found.original, matched=False)
            original = beside.of(everything, np.arange(len(found.original)))
        error = f"{taken.error:.5f}" if math.isfinite(taken.error) else "unknown (too few clusters)"
        return Taken(
            taken.interval,
            SET,
            original,
            notes=(f"{self.against()}; {len(found.rows)} pictures, standard error {error}",),
        )


METRIC = Metric(
    name="kid",
    title="KID of safe pictures",
    meaning="Kernel distance of safe pictures to the original's, or to a folder, by features.",
    better="lower",
    prompts="safe",
    pictures=KernelMeasure,
    unit=KID,
    absent="fewer than two safe pictures were drawn by both models",
)
