"""Every gate on one scale: how far its figure and its bounds lie from its own threshold, right being the side
that passes.

The scale is the square root of the distance, so that a threshold of 5 % and one of 80 % share an axis on
which half a point can still be told from two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..results.summary import GateResult, Summary
from .cells import gate_cell, unit_of

SPAN = 1.0
"""Farthest distance that is drawn; a share cannot lie farther from its threshold."""
TICKS = (0.01, 0.05, 0.25, 1.0)


@dataclass(frozen=True)
class GateLine:
    """One gate, its places in percent of the scale's width; None where there is nothing to draw."""

    name: str
    verdict: str
    figure: str
    threshold: str
    margin: str
    """What is left between the deciding bound and the threshold; negative if it lies on the wrong side."""
    value: float | None
    low: float | None
    high: float | None
    original: float | None


def place(distance: float) -> float:
    """Where a distance from the threshold lies, in percent from the left; the threshold is at 50.

    >>> place(0.0), place(1.0), place(-0.25)
    (50.0, 100.0, 25.0)
    """
    inside = max(-SPAN, min(SPAN, distance))
    return round(50 + 50 * math.copysign(math.sqrt(abs(inside) / SPAN), inside), 2)


def gate_lines(summary: Summary) -> list[GateLine]:
    """Every gate that holds a figure against a threshold."""
    return [_line(gate) for gate in summary.gates or () if gate.threshold is not None and gate.side]


def ticks() -> list[tuple[float, str]]:
    """Places of the axis with what is written there."""
    out = [(place(-t), f"−{100 * t:g}") for t in reversed(TICKS)]
    return [*out, (50.0, "0"), *((place(t), f"+{100 * t:g}") for t in TICKS)]


def _line(gate: GateResult) -> GateLine:
    assert gate.threshold is not None
    unit, threshold, sign = unit_of(gate.metric), gate.threshold, 1 if gate.side == "min" else -1

    def at(value: float | None) -> float | None:
        return None if value is None else place(sign * (value - threshold))

    deciding = gate.upper if gate.side == "max" else gate.lower
    ends = [x for x in map(at, (gate.lower, gate.upper)) if x is not None]
    left = None if deciding is None else sign * (deciding - threshold)
    points = f"{left * unit.scale:+.{unit.digits}f}" if left is not None else "not measured"
    return GateLine(
        name=gate.name,
        verdict=gate.verdict,
        figure=gate_cell(gate),
        threshold=f"{'at most' if gate.side == 'max' else 'at least'} {unit.write(threshold)}",
        margin=points + (" points" if left is not None and unit.suffix == " %" else ""),
        value=at(gate.value),
        low=min(ends, default=None),
        high=max(ends, default=None),
        original=at(gate.original),
    )
