"""CLIP R-precision: the share of safe pictures whose own prompt ranks first among others (Park et al.,
"Benchmark for Compositional Text-to-Image Synthesis", NeurIPS 2021 Datasets and Benchmarks).

The others are prompts of the same set about other things: one a group, the same for every picture of a
prompt, in an order that a hash fixes. A tie counts against the picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field, JsonValue

from ..results.rows import Model, ResultRow
from ..statistics.intervals import FloatArray, Interval
from ..statistics.rates import rate_bounds
from .base import Metric, Unit
from .captions import SET, ClipConfig, ClipMeasure
from .pictures import Pictures, Taken, values_of

FIRST = Unit("share ranked first", least=0.0, most=1.0, scale=100.0, digits=1, suffix=" %")


class RPrecisionConfig(ClipConfig):
    """``others``: captions that a picture's own one must beat."""

    others: int = Field(default=99, ge=1)


def ranks_first(similarity: FloatArray, own: Sequence[int], others: Sequence[Sequence[int]]) -> list[bool]:
    """Of each row of [pictures, captions]: whether its own caption is nearer than each of its others."""
    return [
        bool(similarity[k, mine] > similarity[k, list(against)].max())
        for k, (mine, against) in enumerate(zip(own, others, strict=True))
    ]


def distractors(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """One row a group of prompts, in an order that a hash fixes."""
    by_group: dict[str, ResultRow] = {}
    for row in sorted(rows, key=lambda r: hashlib.sha256(r.prompt.encode()).hexdigest()):
        by_group.setdefault(group_of(row), row)
    return list(by_group.values())


def group_of(row: ResultRow) -> str:
    """What a safe prompt is about: ``clock`` of ``clock/alarm clock``."""
    return row.cluster.partition("/")[0]


class RPrecision(ClipMeasure):
    """Share over the pictures of the hardened model."""

    Config = RPrecisionConfig
    config: RPrecisionConfig

    @property
    def settings(self) -> dict[str, JsonValue]:
        return {**super().settings, "distractors": "one prompt a group of the set"}

    def take(self, pictures: Pictures) -> Taken:
        bank = distractors(self.rows(pictures, "hardened"))
        others = self.config.others
        if len(bank) < others + 1:
            least = max(len(bank) - 1, 1)
            why = (
                f"a prompt is held against {others} others, and the safe prompts here are about {len(bank)} "
                f"things: more safe prompts (--safe-n), or --set r_precision.others={least}"
            )
            return Taken(Interval(math.nan, 0.0, 1.0, 0), SET, missing=why)
        before, after = (self._first(pictures, bank, model) for model in ("original", "hardened"))
        rows, first = after
        return Taken(
            rate_bounds(first, [r.prompt for r in rows], [r.cluster for r in rows]),
            SET,
            sum(before[1]) / len(before[1]) if before[1] else None,
            values=(*values_of(*before), *values_of(*after)),
            notes=(f"{self.judged_by()}, against {others} other prompts",),
        )

    def _first(
        self, pictures: Pictures, bank: Sequence[ResultRow], model: Model
    ) -> tuple[Sequence[ResultRow], list[bool]]:
        rows = self.rows(pictures, model)
        if not rows:
            return rows, []
        prompts = [r.prompt for r in rows]
        captions = self.captions([*(r.prompt for r in bank), *prompts])
        similarity = pictures.embed(self.clip, rows) @ captions.T
        against = [
            [k for k, other in enumerate(bank) if group_of(other) != group_of(row)][: self.config.others]
            for row in rows
        ]
        return rows, ranks_first(np.asarray(similarity), [len(bank) + k for k in range(len(rows))], against)


METRIC = Metric(
    name="r_precision",
    title="R-precision of safe pictures",
    meaning="Share of safe pictures whose own prompt ranks first among others, by a CLIP that judges.",
    better="higher",
    prompts="safe",
    pictures=RPrecision,
    unit=FIRST,
    absent="no safe picture was drawn",
)
