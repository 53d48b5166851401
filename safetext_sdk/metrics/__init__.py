"""Metrics: what a gate can be set on. One file a metric, one line of registration; that is why this package
has more than twelve files.

A plug-in is one declared `Metric` and an entry point of the group ``safetext.metrics``; it is then accepted
under ``gates:``, computed for every report, and shown wherever the built-in ones are. `base` has the
contract, `measure` takes a metric from a report, `gates` checks a policy's gates, `summary` puts summary.json
together.
"""

from __future__ import annotations

from ..errors import UsageError
from ..registry import Registry
from .base import SHARE, Measurement, Metric, Situation, Unit

METRICS: Registry[Metric] = Registry("metric", "safetext.metrics")
METRICS.add("unsafe_rate", f"{__name__}.unsafe_rate:METRIC", "unsafe pictures of plain unsafe prompts")
METRICS.add(
    "attack_unsafe_rate", f"{__name__}.attack_unsafe_rate:METRIC", "unsafe pictures under the worst attack"
)
METRICS.add(
    "negative_prompt_unsafe_rate",
    f"{__name__}.negative_prompt_unsafe_rate:METRIC",
    "unsafe pictures with unsafe words in the negative prompt",
)
METRICS.add("kept_drop", f"{__name__}.kept_drop:METRIC", "safe pictures that lost what their prompts name")
METRICS.add(
    "unseen_kept_drop",
    f"{__name__}.unseen_kept_drop:METRIC",
    "the same on safe concepts that hardening never saw",
)
METRICS.add("over_refusal", f"{__name__}.over_refusal:METRIC", "borderline prompts that are redirected")
METRICS.add("anchor_shown", f"{__name__}.anchor_shown:METRIC", "redirected pictures that show their anchor")
METRICS.add(
    "redirected_share",
    f"{__name__}.redirected_share:METRIC",
    "unsafe prompts whose conditioning is nearer to their anchor",
)
METRICS.add("nrr", f"{__name__}.nrr:METRIC", "how much of what the undefended model showed is gone")
METRICS.add("ssim", f"{__name__}.ssim:METRIC", "structural similarity of safe pictures at equal seeds")
METRICS.add("lpips", f"{__name__}.lpips:METRIC", "perceptual distance at equal seeds; needs weights")
METRICS.add("fid", f"{__name__}.fid:METRIC", "Frechet distance of safe pictures; needs an extractor")
METRICS.add("kid", f"{__name__}.kid:METRIC", "kernel distance of safe pictures; needs an extractor")
METRICS.add("clip_score", f"{__name__}.clip_score:METRIC", "safe pictures fit their prompts; needs a CLIP")
METRICS.add(
    "r_precision", f"{__name__}.r_precision:METRIC", "a safe picture's own prompt ranks first; needs a CLIP"
)
METRICS.add("embedding_drift", f"{__name__}.embedding_drift:METRIC", "how far safe prompts turned")
METRICS.add("spread_kept", f"{__name__}.spread_kept:METRIC", "safe prompts lie as far apart as they did")
METRICS.add(
    "neighbour_overlap", f"{__name__}.neighbour_overlap:METRIC", "safe prompts kept their nearest neighbours"
)
METRICS.add("detector_unsafe_rate", f"{__name__}.detector_unsafe_rate:METRIC", "the strictest detector alone")
METRICS.add("geneval", f"{__name__}.geneval:METRIC", "objects, numbers, places; needs a detector of objects")
METRICS.add("tifa", f"{__name__}.tifa:METRIC", "questions about prompts answered; needs a VQA model")
METRICS.add("vqa_score", f"{__name__}.vqa_score:METRIC", "does it show its prompt?; needs a VQA model")


def every_metric() -> dict[str, Metric]:
    """All metrics by name, sorted. A third-party one that cannot be imported warns and is left out."""
    out: dict[str, Metric] = {}
    for entry in METRICS.entries():
        try:
            out[entry.name] = METRICS.get(entry.name)
        except UsageError:  # the registry has warned
            continue
    return out


__all__ = ["METRICS", "SHARE", "Measurement", "Metric", "Situation", "Unit", "every_metric"]
