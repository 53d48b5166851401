"""Any text of an attack is enough: the undefended model's pictures stop at the first that shows the concept.

What the undefended model answers says one thing, whether an attack **counts**, and of several texts for a
prompt one that gets through is enough. So its texts are drawn in turn, and those after the first that got
through are spared; the same for controls. The figure is what it would be with all of them, for nothing that
is spared can change it. The hardened model is on trial: it draws every text. Where a text gets through it,
the undefended model's picture of that text is drawn as well, so that a page can show both.

What a round draws depends on the rows of earlier rounds alone, not on what lies on disk: batches are the same
however often a run was stopped and however many processes share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..results.rows import ResultRow, Trial

if TYPE_CHECKING:
    from .items import Item
    from .jobs import Job


def rounds(jobs: Sequence[Job], rows: Mapping[str, ResultRow]) -> Iterator[list[Job]]:
    """The jobs of a plan that have to be done, in rounds, each in the order of ``jobs``.

    Args:
        rows: by key; must hold those of a round before the next is asked for. Others that it holds change
            nothing.
    """
    taken: set[str] = set()
    while more := [j for j in _asked(jobs, {k: rows[k] for k in taken}) if j.key not in taken]:
        taken.update(job.key for job in more)
        yield more


def spared(items: Iterable[Item], rows: Iterable[ResultRow]) -> dict[str, int]:
    """Set: questions of a plan that the undefended model was not asked any more; sets without any left
    out."""
    answered = {row.question for row in rows if row.model == "original"}
    return dict(Counter(q[0] for q in dict.fromkeys(i.question for i in items) if q not in answered))


def _asked(jobs: Sequence[Job], known: Mapping[str, ResultRow]) -> list[Job]:
    """All jobs but texts of the undefended model behind one that got through, or behind one whose row is not
    known yet."""
    through = {row.question for row in known.values() if row.model == "hardened" and row.unsafe}
    settled: set[Trial] = set()
    out = []
    for job in jobs:
        item = job.item
        if job.model == "hardened" or item.origin is None:
            out.append(job)
        elif item.trial not in settled:
            out.append(job)
            row = known.get(job.key)
            if row is None or row.unsafe:
                settled.add(item.trial)
        elif item.question in through:
            out.append(job)
    return out
