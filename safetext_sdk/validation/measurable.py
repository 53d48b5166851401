"""What cannot be measured on a model, whatever is drawn: known before the first picture is made.

Only what the model and the policy's judges cannot do counts. What a caller did not ask for (no attack, no
prompts of a set) is no reason to leave a gate out: that stays inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..metrics import every_metric
from ..metrics.base import Metric
from .session import Session
from .set_sizes import NEGATIVE_SETS

if TYPE_CHECKING:
    from ..policy import Policy


def unmeasurable(session: Session) -> dict[str, str]:
    """Metric (``"kept_drop"``), or concept and metric (``"weapon.unsafe_rate"``): why not. Every registered
    metric is asked about, whether a gate reads it or not: a gate may be set later."""
    out: dict[str, str] = {}
    judged = _judged(session)
    for name, metric in every_metric().items():
        why = _why(metric, session)
        if why:
            out[name] = why
        if metric.per_concept:
            for concept in session.policy.concepts:
                absent = concept.id in session.elsewhere and concept.id not in judged
                if why or absent:
                    out[f"{concept.id}.{name}"] = (
                        why or "neither prompts nor a detector of it are for this model"
                    )
    return out


def gates_unmeasured(policy: Policy, reasons: dict[str, str]) -> dict[str, str]:
    """The gates among them, with what the policy says then."""
    return {
        label: f"{reasons[label]}; {SAYS[if_unmeasured]}"
        for label, if_unmeasured in _gates(policy)
        if label in reasons
    }


SAYS = {
    "inconclusive": "the policy then cannot be passed (if_unmeasured: inconclusive)",
    "leave_out": "the policy leaves it out (if_unmeasured: leave_out)",
}


def _gates(policy: Policy) -> Iterator[tuple[str, str]]:
    yield from ((name, gate.if_unmeasured) for name, gate in policy.gates.items())
    for concept in policy.concepts:
        yield from ((f"{concept.id}.{name}", gate.if_unmeasured) for name, gate in concept.gates.items())


def _judged(session: Session) -> set[str]:
    if session.detectors is None:
        return {u.concept for u in session.book.test.unsafe}
    return {entry.concept for entry in session.detectors.describe()}


def _why(metric: Metric, session: Session) -> str:
    """Why a metric cannot be measured on this model; empty if it can."""
    if metric.pictures is not None and session.detectors is None:
        return "a model without a denoiser draws no pictures"
    if metric.compute is None:
        return ""
    detectors = session.detectors
    if detectors is None:
        return "" if metric.encoder is not None else "a model without a denoiser draws no pictures"
    if metric.policy_sets and set(metric.policy_sets) <= set(NEGATIVE_SETS) and not session.guided:
        return "negative prompts do not reach the denoiser of this pipeline"
    if "kept" in metric.fields and session.judges is None:
        prompts = [p.text for p in getattr(session.book.test, metric.prompts)]
        return "" if not prompts or any(map(detectors.expected, prompts)) else metric.absent
    if "anchor_shown" in metric.fields and not any(
        detectors.expected(u.anchor) for u in session.book.test.unsafe
    ):
        return metric.absent
    return ""
