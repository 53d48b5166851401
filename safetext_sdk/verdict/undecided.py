"""What an inconclusive gate asks for: how many prompts would decide, and the option that gives them."""

from __future__ import annotations

from ..metrics.base import Metric
from ..statistics.intervals import Interval
from ..statistics.power import to_decide
from ..validation.set_sizes import OPTIONS, rounded_up, set_of


def what_would_decide(metric: Metric, found: Interval, threshold: float, drawn: int = 0) -> str:
    """For the reason of an undecided gate; empty where a larger sample of the same kind settles nothing.

    Args:
        drawn: distinct prompts of the set, where more than the figure counts: those of other concepts, those
            that the undefended model did not keep. The option gives prompts to all of them.
    """
    more = to_decide(found, threshold, metric.side)
    if more is None or found.evidence is None:
        return ""
    share = max(1.0, drawn / found.evidence.prompts)
    if more.prompts is not None:
        wanted = rounded_up(share * more.prompts)
        return f"at this figure about {wanted} prompts would decide ({OPTIONS[set_of(metric)]} {wanted})"
    if found.evidence.clusters == found.evidence.prompts:
        # Every cluster gives a prompt before any gives a second, so the policy may have many more of them.
        wanted = rounded_up(share * more.clusters)
        return (
            f"at this figure at least {wanted} prompts would be needed ({OPTIONS[set_of(metric)]} {wanted}; "
            "`safetext plan` says what the policy offers)"
        )
    source = "synonyms" if metric.prompts in ("unsafe", "attacked") else f"{metric.prompts} groups"
    return (
        f"no number of prompts in {found.evidence.clusters} clusters would decide at this figure; about "
        f"{more.clusters} clusters would: the policy needs more {source}"
    )
