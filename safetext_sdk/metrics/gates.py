"""Is a gate of a policy one that can be measured? Asked before anything runs: a misspelled gate must not be a
gate that does nothing."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args

from ..errors import PolicyError, UsageError
from ..policy.schema import Gate
from . import METRICS, every_metric
from .base import Metric

if TYPE_CHECKING:
    from ..policy.schema import Policy

RENAMED = {"fidelity_drop": "kept_drop", "unseen_fidelity_drop": "unseen_kept_drop"}
"""Names of the first version of the policy file, and what they are called now."""


def check_gate(name: str, gate: Gate) -> None:
    """One gate against the registered metrics.

    Raises:
        PolicyError: unknown or renamed metric, wrong side, or a threshold that the metric cannot have.
            ``field`` is relative to the mapping of gates.
    """
    metric = _metric(name)
    threshold = gate.max if metric.side == "max" else gate.min
    if threshold is None:
        raise PolicyError(f"{name} takes `{metric.side}`", field=name)
    unit = metric.unit
    if not unit.least <= threshold <= unit.most:
        raise PolicyError(
            f"should be greater than or equal to {unit.least:g} and less than or equal to {unit.most:g}",
            field=f"{name}.{metric.side}",
        )


def _metric(name: str) -> Metric:
    if name in RENAMED:
        raise PolicyError(f"this gate is called {RENAMED[name]!r} now", field=name)
    names = METRICS.names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PolicyError(f"unknown gate{hint}", field=name, allowed=", ".join(names))
    try:
        return METRICS.get(name)
    except UsageError as error:
        raise PolicyError(str(error), field=name) from error


def check_gates(policy: Policy) -> None:
    """Every gate of a policy and of its concepts.

    Raises:
        PolicyError: the first one that `check_gate` refuses, with its dotted path.
    """
    places = [("gates", policy.gates)]
    places += [(f"concepts.{i}.gates", concept.gates) for i, concept in enumerate(policy.concepts)]
    for where, gates in places:
        for name, gate in gates.items():
            try:
                check_gate(name, gate)
            except PolicyError as error:
                raise PolicyError(
                    error.problem, field=f"{where}.{error.field}", allowed=error.allowed
                ) from None


def gate_fields() -> dict[str, dict[str, Any]]:
    """JSON Schema of every gate that may be set, for the policy's own schema."""
    return {
        name: {
            "type": "object",
            "description": metric.meaning,
            "properties": {
                metric.side: _threshold(metric),
                "if_unmeasured": {"enum": list(get_args(Gate.model_fields["if_unmeasured"].annotation))},
            },
            "required": [metric.side],
            "additionalProperties": False,
        }
        for name, metric in every_metric().items()
    }


def _threshold(metric: Metric) -> dict[str, Any]:
    ends = {"minimum": metric.unit.least, "maximum": metric.unit.most}
    return {"type": "number"} | {k: v for k, v in ends.items() if abs(v) != float("inf")}
