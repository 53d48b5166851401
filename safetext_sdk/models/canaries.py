"""Fingerprints of a conditioning: a short list of numbers that tells a hardened encoder from the original
one, in any runtime.

* Each position is first centred and scaled, so that one outlier position does not speak for all; the whole is
  then projected on 32 fixed random sign vectors. Rounding to half precision moves a fingerprint by about 0.1
  %, hardening an unsafe prompt by tens of per cent.
* The sign vectors come from the raw bits of PCG64, which numpy keeps the same for ever (its distributions are
  not).
* A canary keeps both fingerprints, original and hardened; `compare` then says which of the two a deployed
  encoder is, or neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from .families import Conditioning

SIZE = 32
TOLERANCE = 0.05
"""Largest relative distance at which two fingerprints count as the same: far above half precision (0.002),
below int8's damage
(0.1 to 0.2)."""


def fingerprint(conditioning: Conditioning) -> list[float]:
    """32 numbers for the first (usually only) prompt of ``conditioning``, rounded to 5 digits."""
    total = np.zeros(SIZE)
    for index, tensor in enumerate(conditioning.tensors.values()):
        values = tensor[0].detach().to("cpu").double().numpy()
        values = values.reshape(-1, values.shape[-1])
        values = values - values.mean(axis=-1, keepdims=True)
        values = values / (values.std(axis=-1, keepdims=True) + 1e-6)
        flat = values.reshape(-1)
        raw = np.random.PCG64(7919 + index).random_raw(flat.size)
        for bit in range(SIZE):
            total[bit] += float(
                flat @ (((raw >> np.uint64(bit)) & np.uint64(1)).astype(np.float64) * 2 - 1)
            ) / np.sqrt(flat.size)
    return [round(float(v), 5) for v in total]


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Relative distance ||a - b|| / ||b||; infinite if the lengths differ or a number is not finite."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape != y.shape or not np.isfinite(x).all():
        return float("inf")
    return float(np.linalg.norm(x - y) / max(float(np.linalg.norm(y)), 1e-9))


@dataclass
class Comparison:
    """What a set of measured fingerprints says.

    ``verdict``: ``hardened``, ``original``, ``neither``, or ``unknown`` when no canary can tell the two
    apart.
    ``to_hardened``, ``to_original``: largest distance over the canaries that can tell. ``details``: one row a
    canary.
    """

    verdict: Literal["hardened", "original", "neither", "unknown"]
    to_hardened: float
    to_original: float
    details: list[dict[str, Any]] = field(default_factory=list)


def compare(
    measured: Mapping[str, Sequence[float]],
    canaries: Mapping[str, Mapping[str, Sequence[float]]],
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Say what the encoder behind ``measured`` is.

    Args:
        measured: ``{prompt: fingerprint}`` of the encoder at hand; every canary must be there.
        canaries: ``manifest["canaries"]``: ``{prompt: {"original": [...], "hardened": [...]}}``.
        tolerance: largest relative distance that counts as equal; `TOLERANCE` suits fp32, fp16 and bf16.
    """
    rows: list[dict[str, Any]] = []
    for prompt, known in canaries.items():
        gap = distance(known["hardened"], known["original"])
        got = measured.get(prompt, [])
        rows.append(
            {
                "prompt": prompt,
                "gap": gap,
                "to_hardened": distance(got, known["hardened"]),
                "to_original": distance(got, known["original"]),
            }
        )
    # A canary whose two fingerprints nearly agree (a safe prompt) must still match, but cannot decide which
    # of the two it is.
    telling = [r for r in rows if r["gap"] > 2 * tolerance]
    if not telling:
        return Comparison(
            "unknown",
            max((r["to_hardened"] for r in rows), default=float("inf")),
            max((r["to_original"] for r in rows), default=float("inf")),
            rows,
        )
    hardened, original = (max(r[key] for r in telling) for key in ("to_hardened", "to_original"))
    all_hardened, all_original = (max(r[key] for r in rows) for key in ("to_hardened", "to_original"))
    verdict: Literal["hardened", "original", "neither"] = "neither"
    if all_hardened <= tolerance:
        verdict = "hardened"
    elif all_original <= tolerance:
        verdict = "original"
    return Comparison(verdict, hardened, original, rows)
