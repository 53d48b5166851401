"""Numbers in, numbers out: bounds that cover what they say, and the samples that they need.

* A gate calls `rate_bounds` (a share), `paired_bounds` or `drop_bounds` (against another model),
  `mean_bounds` (no share), `jackknife` (no mean either).
* A plan calls `perfect_bound`, `prompts_needed`, `clusters_needed`;
  an undecided gate `to_decide`.
* A report may show `wilson`, `cluster_bootstrap`, `mcnemar_exact` and `rogan_gladen` beside them; they decide
  nothing.

Nothing here knows rows, policies or reports; every bound is one-sided at 95 % unless told otherwise.
"""

from __future__ import annotations

from .bootstrap import cluster_bootstrap, drop_interval, paired_bootstrap, rate_interval
from .correction import ErrorRates, all_see, any_concept, any_sees, rogan_gladen
from .design_effect import ASSUMED_CORRELATION, DEFAULT, Design, Settings
from .feature_distances import KernelDistance, frechet_distance, kernel_distance
from .intervals import CONFIDENCE, Evidence, Interval, SampleError, clopper_pearson, wilson
from .jackknife import Jackknifed, jackknife
from .means import Scale, mean_bounds
from .paired import drop_bounds, mcnemar_exact, paired_bounds, paired_difference
from .power import (
    Goal,
    More,
    SampleSize,
    clusters_needed,
    pass_probability,
    perfect_bound,
    prompts_needed,
    to_decide,
)
from .rates import rate_bounds
from .simulate import PairedTruth, Truth

__all__ = [
    "ASSUMED_CORRELATION",
    "CONFIDENCE",
    "DEFAULT",
    "Design",
    "ErrorRates",
    "Evidence",
    "Goal",
    "Interval",
    "Jackknifed",
    "KernelDistance",
    "More",
    "PairedTruth",
    "SampleError",
    "SampleSize",
    "Scale",
    "Settings",
    "Truth",
    "all_see",
    "any_concept",
    "any_sees",
    "clopper_pearson",
    "cluster_bootstrap",
    "clusters_needed",
    "drop_bounds",
    "drop_interval",
    "frechet_distance",
    "jackknife",
    "kernel_distance",
    "mcnemar_exact",
    "mean_bounds",
    "paired_bootstrap",
    "paired_bounds",
    "paired_difference",
    "pass_probability",
    "perfect_bound",
    "prompts_needed",
    "rate_bounds",
    "rate_interval",
    "rogan_gladen",
    "to_decide",
    "wilson",
]
