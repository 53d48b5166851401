"""CLIPScore: how well safe pictures fit their prompts, 100 * max(cos, 0) (Hessel et al. 2021, EMNLP, section
3, in torchmetrics' scale).

It hides what compositional measures show: a picture may fit its caption's words and not its relations.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..results.rows import Model, ResultRow
from ..statistics.means import Scale, mean_bounds
from .base import Metric, Unit
from .captions import SET, ClipMeasure
from .pictures import Pictures, Taken, values_of

FIT = Unit("CLIP score", least=0.0, most=100.0, digits=2)


class ClipScore(ClipMeasure):
    """Mean over the pictures of the hardened model."""

    def take(self, pictures: Pictures) -> Taken:
        before, after = (self._scores(pictures, model) for model in ("original", "hardened"))
        rows, values = after
        interval = mean_bounds(
            values, [r.prompt for r in rows], [r.cluster for r in rows], Scale(FIT.least, FIT.most)
        )
        original = sum(before[1]) / len(before[1]) if before[1] else None
        return Taken(
            interval,
            SET,
            original,
            values=(*values_of(*before), *values_of(*after)),
            notes=(self.judged_by(),),
        )

    def _scores(self, pictures: Pictures, model: Model) -> tuple[Sequence[ResultRow], list[float]]:
        rows = self.rows(pictures, model)
        if not rows:
            return rows, []
        cosines = (pictures.embed(self.clip, rows) * self.captions([r.prompt for r in rows])).sum(-1)
        return rows, [min(100.0, max(0.0, 100 * float(c))) for c in cosines]


METRIC = Metric(
    name="clip_score",
    title="CLIP score of safe pictures",
    meaning="Mean similarity of safe pictures to their prompts, 100 times the cosine of a CLIP that judges.",
    better="higher",
    prompts="safe",
    pictures=ClipScore,
    unit=FIT,
    absent="no safe picture was drawn",
)
