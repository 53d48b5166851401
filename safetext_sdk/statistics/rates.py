"""The bound of a rate that a gate may rest on: exact, on an effective sample size.

A rate of clustered yes/no outcomes gets Clopper-Pearson bounds as if as many independent prompts had been
seen as the sample is worth (Korn and Graubard 1998, Survey Methodology 24, 193-201), with a floor under the
design effect (`design_effect`). Coverage by simulation: ``benchmarks/bound_coverage.py``; with a true
correlation up to the assumed one it is at least 95 % in every cell.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .design_effect import DEFAULT, Design, Settings, design_effect, effective_sample_size
from .intervals import FloatArray, Interval, Limits, SampleError, clopper_pearson_limits

METHOD = "clopper-pearson on the effective sample size"


def rate_bounds(
    outcomes: Sequence[bool] | Sequence[float],
    prompts: Sequence[Hashable],
    clusters: Sequence[Hashable],
    settings: Settings = DEFAULT,
) -> Interval:
    """One-sided bounds of the share of pictures that are hits.

    Args:
        outcomes: one a picture; a number between 0 and 1 is allowed where a picture is itself a share.
        prompts: the prompt of each picture: seeds of one prompt are one trial, whose outcome is their mean.
        clusters: the cluster of each picture, e.g. the synonym that its prompt was built from.
        settings: confidence, and the correlation that is allowed for.

    Returns:
        The share of all pictures, its bounds, and what the sample was worth. Without outcomes: NaN, 0 and 1.

    Raises:
        SampleError: lengths differ, or an outcome is not between 0 and 1.

    >>> clusters = [i % 28 for i in range(100)]
    >>> round(rate_bounds([False] * 100, list(range(100)), clusters).upper, 3)
    0.055
    """
    design = Design.of(prompts, clusters)
    design.expect(len(outcomes))
    if not outcomes:
        return Interval(math.nan, 0.0, 1.0, 0, METHOD)
    values = np.asarray(outcomes, np.float64)
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise SampleError("an outcome of a rate is between 0 and 1")
    found = rate_limits(design.cluster_sums(design.prompt_means(values)), design, settings)
    return design.interval(found, METHOD, settings)


def rate_limits(hits: ArrayLike, design: Design, settings: Settings = DEFAULT) -> Limits:
    """`rate_bounds` for many samples of one design: hits of each cluster, [..., clusters] -> bounds [...]."""
    sums = np.asarray(hits, np.float64)
    # A mean of ones can come out a rounding error above 1.
    value: FloatArray = np.clip(sums.sum(-1) / design.pictures, 0.0, 1.0)
    effect = design_effect(sums, value * (1 - value), design, settings)
    effective = effective_sample_size(effect, design, settings)
    lower, upper = clopper_pearson_limits(value * effective, effective, settings.confidence)
    return Limits(value, lower, upper, effect, effective)
