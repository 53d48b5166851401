"""What a metric is: one declared object, and the few things that its functions are handed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..results.compute import OfPairs, OfRows
from ..results.facts import EncoderTier, Facts
from ..results.figures import Figure
from ..statistics.intervals import Interval

if TYPE_CHECKING:
    from .evidence import Evidence
    from .pictures import PictureMeasure

NOTHING = Interval(math.nan, 0.0, 1.0, 0)
"""What was not measured: no value, no bound that could pass."""


@dataclass(frozen=True)
class Unit:
    """What a value counts, which values a threshold may have, and how one is written.

    Attributes:
        name: for people, e.g. ``"share"``.
        least, most: ends of the range that a threshold may lie in.
        scale: a value is multiplied by this before it is written.
        digits: decimals.
        suffix: what follows the number, e.g. ``" %"``.
    """

    name: str
    least: float = -math.inf
    most: float = math.inf
    scale: float = 1.0
    digits: int = 3
    suffix: str = ""

    def number(self, value: float | None) -> str:
        """The bare number, or "unbounded" where there is none."""
        if value is None or not math.isfinite(value):
            return "unbounded"
        return f"{value * self.scale:.{self.digits}f}"

    def write(self, value: float | None) -> str:
        """The number with its suffix; a dash where nothing was measured.

        >>> SHARE.write(0.0312), SHARE.write(None)
        ('3.1 %', '–')
        """
        if value is None or math.isnan(value):
            return "–"
        return self.number(value) + (self.suffix if math.isfinite(value) else "")

    def bounds(self, value: float | None, lower: float | None, upper: float | None, n: int) -> str:
        """The point, both one-sided 95 % bounds, and what they rest on.

        >>> SHARE.bounds(0.031, 0.012, 0.06, 100)
        '3.1 % (1.2–6.0, n = 100)'
        """
        if value is None or n == 0:
            return "–"
        return f"{self.write(value)} ({self.number(lower)}–{self.number(upper)}, n = {n})"


SHARE = Unit("share", least=0.0, most=1.0, scale=100.0, digits=1, suffix=" %")


@dataclass(frozen=True)
class Measurement:
    """One metric on one report.

    Attributes:
        interval: the figure; ``n`` 0 where nothing was measured.
        original: the same figure on the undefended model, where there is one.
        missing: why nothing was measured.
        set: the set that the figure is of; empty where nothing was measured or it reads no set.
        notes: what must be said beside a figure that was taken from pictures.
    """

    interval: Interval = NOTHING
    original: float | None = None
    missing: str = ""
    set: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Situation:
    """What a condition is asked about: a figure that is about to be held against a threshold."""

    evidence: Evidence
    measured: Measurement
    threshold: float
    concept: str | None = None


Condition = Callable[[Situation], str]
"""One line that says why the figure proves nothing, or is no figure at all; empty where all is well."""


def _fine(_: Situation) -> str:
    return ""


@dataclass(frozen=True)
class Metric:
    """One figure with its bounds, its direction and its preconditions; what a gate is set on.

    Rows come from ``compute``, which gets the hardened rows of a set, or (original, hardened) pairs if
    ``paired``. Where several sets are read, each has its own figure and the worst decides. A set without rows
    is "not measured", whatever the others say.

    Attributes:
        name: registered name, and the key under ``gates:``.
        title: for people, a few words.
        meaning: one sentence, for the policy reference and the pages.
        better: which way is better; a gate on it is a ``max`` or a ``min`` accordingly.
        prompts: the test prompts that it draws on: unsafe, safe, safe_unseen, borderline, or attacked (the
            sample of the unsafe ones that attacks start from).
        fields: row fields that it reads; empty if it reads none.
        compute: rows (or pairs) to an interval; None if it reads the encoder tier alone.
        paired: whether ``compute`` gets pairs.
        sets: the sets that it reads, or a function that names them from the facts; empty: the set of
            ``prompts``.
        deciding: which of its sets decide at a threshold, where that depends on it; None: all of them.
        encoder: its figure on the encoder tier, where it has one. Read if ``compute`` is None, or if the
            model draws no pictures.
        whole: its figure from rows and facts together, where neither a set's rows nor the encoder tier are
            enough.
        pictures: what looks at the pictures themselves; a validation takes it only when it is asked to (a
            policy's ``metrics:`` or gate, ``--metric NAME``), and records the figure in the facts.
        per_concept: whether it may be asked about one concept.
        unit: what a value counts and how it is written.
        absent: why there may be nothing to measure; empty: "the set X is empty".
        doubt: a pass becomes inconclusive where this says something.
        flaw: fails, whatever the bound, where this says something.
        note: said in brackets after the reason.
    """

    name: str
    title: str
    meaning: str
    better: Literal["lower", "higher"]
    prompts: Literal["unsafe", "safe", "safe_unseen", "borderline", "attacked"]
    fields: tuple[str, ...] = ()
    compute: OfRows | OfPairs | None = None
    paired: bool = False
    sets: tuple[str, ...] | Callable[[Facts], Iterable[str]] = ()
    deciding: Callable[[Evidence, float, str | None], Iterable[str]] | None = None
    encoder: Callable[[EncoderTier], Figure | None] | None = None
    whole: Callable[[Evidence, str | None], Measurement] | None = None
    pictures: type[PictureMeasure[Any]] | None = None
    per_concept: bool = False
    unit: Unit = SHARE
    absent: str = ""
    doubt: Condition = _fine
    flaw: Condition = _fine
    note: Condition = _fine

    @property
    def side(self) -> Literal["max", "min"]:
        """The side of a threshold on it."""
        return "max" if self.better == "lower" else "min"

    def sets_of(self, facts: Facts) -> tuple[str, ...]:
        """The sets that it reads in a report."""
        return tuple(self.sets(facts)) if callable(self.sets) else self.sets or (self.prompts,)

    @property
    def policy_sets(self) -> tuple[str, ...]:
        """Those of them that are known without a report."""
        return () if callable(self.sets) else self.sets or (self.prompts,)
