"""How many prompts a policy's gates need, what its prompt book offers, and what a perfect model would prove.

* The same bounds as the verdict's, on the very prompts that a validation would draw: whatever is uneven about
  them is counted.
* `plan_samples` is what `safetext plan` prints, what `validate` takes its default sizes from, and what the
  policy lint complains by. So a perfect model passes with the defaults wherever the policy lets it.
* **Default sizes**: the smallest of `STEPS` at which a perfect model passes and a good one (`GOOD`) passes
  19 times of 20; where no step is enough for the good one, the one at which it passes most often. Where a
  perfect model cannot pass with all that the book offers, more pictures prove nothing: the set gets
  `HOPELESS` prompts, and the plan says what is lacking.
* **Attacks** start from a sample of the unsafe prompts that has a size of its own (`--attack-n`), as many as
  their gate needs: each of them is drawn in several texts. Its steps begin lower.
* Several seeds of a prompt are one trial: a plan never asks for them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import PolicyError
from ..metrics import SHARE, Metric, every_metric
from ..models.languages import languages_of
from ..prompts import UnsafePrompt, build_prompt_book
from ..statistics import (
    CONFIDENCE,
    Design,
    Goal,
    PairedTruth,
    Truth,
    clusters_needed,
    pass_probability,
    perfect_bound,
    prompts_needed,
)
from .items import CanTell, anything, chosen, cluster_of
from .set_sizes import (
    ATTACKED,
    NEGATIVE_SETS,
    REPORTED,
    REPORTED_ATTACKED,
    equal_sizes,
    rounded_up,
    set_of,
)

if TYPE_CHECKING:
    from ..policy import Gate, Policy
    from ..prompts import PromptBook, SafePrompt

STEPS = (100, 150, 200, 300, 400, 600, 800)
"""Sizes that a default may have."""
ATTACK_STEPS = (60, 80, *STEPS)
"""The same for attacked prompts."""
HOPELESS = 300
GOOD: Mapping[str, Truth | PairedTruth] = {
    "unsafe": Truth(0.002),
    "attacked": Truth(0.005),
    "borderline": Truth(0.002),
    "safe": PairedTruth(worse=0.01, better=0.005),
    "safe_unseen": PairedTruth(worse=0.01, better=0.005),
}
"""Prompts: a model that deserves to pass. Pictures of safe prompts flip in both directions for nothing."""
POWER = 0.95


@dataclass(frozen=True)
class Sample:
    """So many distinct prompts in so many clusters."""

    prompts: int
    clusters: int


@dataclass(frozen=True)
class GatePlan:
    """One gate: what it asks for, and what the policy gives it."""

    gate: str
    """Metric, or concept.metric."""
    set: str
    """The set whose size decides."""
    threshold: float
    side: Literal["max", "min"]
    offered: Sample
    """What the test split of the prompt book has."""
    prompts: int | None
    """Fewest prompts with which a perfect model passes; None if all that are offered do not suffice."""
    clusters: int | None
    """Fewest clusters of as many prompts each as are planned with which one would; None if no number does."""
    planned: Sample
    """What a validation draws by default."""
    proves: float
    """The bound of a perfect model on that: at most, or at least for a ``min``."""
    passes: float | None
    """How often a good model passes on it; None where a good model does not reach the threshold."""

    @property
    def provable(self) -> bool:
        """Whether a perfect model passes with what is planned."""
        return self.proves <= self.threshold if self.side == "max" else self.proves >= self.threshold

    @property
    def reachable(self) -> bool:
        """Whether any sample could prove the threshold: a bound is never exactly 0 or 1."""
        return self.threshold > 0 if self.side == "max" else self.threshold < 1

    @property
    def problem(self) -> str:
        """Why no model can pass; empty where one can."""
        if self.provable:
            return ""
        if not self.reachable:
            return "no number of prompts can prove this: a bound is never exactly 0 or 1"
        word = "at most" if self.side == "max" else "at least"
        return (
            f"a perfect model proves {word} {SHARE.write(self.proves)} with {self.planned.prompts} "
            f"{self.set} test prompts in {self.planned.clusters} clusters (the policy yields "
            f"{self.offered.prompts} in {self.offered.clusters}); "
            + (f"about {self.clusters} clusters are needed" if self.clusters else "no plan is large enough")
            + ": more synonyms"
        )


@dataclass(frozen=True)
class SamplePlan:
    """Every gate of a policy that is a share, and the sizes of all sets."""

    policy: str
    model: str | None
    gates: tuple[GatePlan, ...]
    sizes: Mapping[str, int]
    """Set: distinct prompts that a validation draws by default."""
    left_out: tuple[str, ...] = ()
    """Gates on figures that are no share: what they need depends on their spread."""
    seeds: int = 1

    @property
    def provable(self) -> bool:
        """Whether a perfect model passes every gate."""
        return all(gate.provable for gate in self.gates)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        gates = [{**asdict(g), "provable": g.provable, "problem": g.problem or None} for g in self.gates]
        return {**asdict(self), "gates": gates, "sizes": dict(self.sizes), "provable": self.provable}


def plan_samples(
    policy: Policy,
    *,
    model: str | None = None,
    seed: int = 0,
    book: PromptBook | None = None,
    can_tell: CanTell = anything,
    sizes: Mapping[str, int] | None = None,
) -> SamplePlan:
    """What the gates of a policy need, and what they get.

    Args:
        model: model id that the policy is expanded for; None: any real model.
        seed, book: of the prompt book, or the book itself.
        can_tell: whether a detector knows what a picture of a safe prompt should show; None of the prompts
            that no detector can tell are drawn while there are others.
        sizes: sizes of sets to plan with instead of the defaults.

    Raises:
        PolicyError: the policy cannot be expanded.
    """
    if book is None:
        book = build_prompt_book(policy, seed=seed, model=model, languages=languages_of(model))
    metrics, asked = every_metric(), list(_asked(policy))
    shares = [a for a in asked if a[0] in metrics and metrics[a[0]].unit is SHARE]
    planner = _Planner(book, can_tell)
    read = {set_of(metrics[name]) for name, _, _ in shares}
    found = {**equal_sizes(REPORTED, read), ATTACKED: REPORTED_ATTACKED}
    for set_ in read:
        gates = [(metrics[n], g, c) for n, g, c in shares if set_of(metrics[n]) == set_]
        found[set_] = max(planner.size(metric, gate, concept) for metric, gate, concept in gates)
    if set(NEGATIVE_SETS) & read:
        found |= {name: max(found[name] for name in NEGATIVE_SETS) for name in NEGATIVE_SETS}
    found |= sizes or {}
    return SamplePlan(
        policy=policy.name,
        model=model,
        gates=tuple(planner.gate(metrics[n], g, c, found) for n, g, c in shares),
        sizes=found,
        left_out=tuple(n for n, _, _ in asked if n in metrics and metrics[n].unit is not SHARE),
    )


def _asked(policy: Policy) -> Iterator[tuple[str, Gate, str | None]]:
    """(metric, gate, concept) of every gate that has the metric's side."""
    places = [(policy.gates, None), *((c.gates, c.id) for c in policy.concepts)]
    metrics = every_metric()
    for gates, concept in places:
        for name, gate in gates.items():
            if name in metrics and getattr(gate, metrics[name].side) is None:
                raise PolicyError(f"{name} takes `{metrics[name].side}`", field=f"gates.{name}")
            yield name, gate, concept


def _room(metric: Metric, gate: Gate) -> tuple[float, float]:
    """(threshold, how far from perfect it lets a figure be)."""
    threshold = float(getattr(gate, metric.side))
    return threshold, threshold if metric.side == "max" else 1 - threshold


class _Planner:
    """The prompts of one book, in the order in which a validation draws them."""

    def __init__(self, book: PromptBook, can_tell: CanTell) -> None:
        self.test, self.can_tell = book.test, can_tell
        self._drawn: dict[str, list[SafePrompt | UnsafePrompt]] = {}

    def _order(self, set_: str) -> list[SafePrompt | UnsafePrompt]:
        if set_ not in self._drawn:
            self._drawn[set_] = chosen(self.test, set_, sys.maxsize, self.can_tell)
        return self._drawn[set_]

    def _design(self, set_: str, n: int, concept: str | None) -> Design | None:
        """Design of the first ``n`` prompts of a set, those of one concept if named; None without any."""
        drawn = [p for p in self._order(set_)[:n] if concept in (None, getattr(p, "concept", None))]
        return Design.of([p.text for p in drawn], [cluster_of(p) for p in drawn]) if drawn else None

    def size(self, metric: Metric, gate: Gate, concept: str | None) -> int:
        """Default size of the gate's set."""
        set_, (_, room) = set_of(metric), _room(metric, gate)
        good, most = GOOD[metric.prompts], len(self._order(set_))
        best, chance = 0, -1.0
        for n in ATTACK_STEPS if set_ == ATTACKED else STEPS:
            design = self._design(set_, n, concept)
            if design is not None and perfect_bound(design) <= room:
                passes = pass_probability(Goal(room, good), design) if _reaches(good, room) else 1.0
                if passes > chance:
                    best, chance = n, passes
            if chance >= POWER or n >= most:
                break
        return best or rounded_up(self._fewest(set_, concept, room) or HOPELESS)

    def gate(self, metric: Metric, gate: Gate, concept: str | None, sizes: Mapping[str, int]) -> GatePlan:
        """The plan of one gate with these sizes."""
        set_, (threshold, room) = set_of(metric), _room(metric, gate)
        design, whole = (self._design(set_, n, concept) for n in (sizes[set_], len(self._order(set_))))
        bound = 1.0 if design is None else perfect_bound(design)
        good = GOOD[metric.prompts]
        passes = None
        if design is not None and _reaches(good, room):
            passes = pass_probability(Goal(room, good), design)
        return GatePlan(
            gate=f"{concept}.{metric.name}" if concept else metric.name,
            set=set_,
            threshold=threshold,
            side=metric.side,
            offered=_sample(whole),
            prompts=self._fewest(set_, concept, room),
            clusters=_fewest_clusters(room, design),
            planned=_sample(design),
            proves=bound if metric.side == "max" else 1 - bound,
            passes=passes,
        )

    def _fewest(self, set_: str, concept: str | None, room: float) -> int | None:
        """The fewest prompts, drawn as a validation draws them, with which a perfect model passes."""
        most = len(self._order(set_))
        whole = self._design(set_, most, concept)
        if whole is None or room <= 0:
            return None
        if room >= 1:
            return 1
        if prompts_needed(Goal(room), whole.clusters) is None:  # even if they were of equal size
            return None
        n = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - room))  # if each were a cluster of its own
        while n <= most:
            design = self._design(set_, n, concept)
            if design is not None and perfect_bound(design) <= room:
                return n
            n += max(1, n // 100)
        return None


def _reaches(good: Truth | PairedTruth, room: float) -> bool:
    value = good.rate if isinstance(good, Truth) else good.difference
    return value < room < 1


def _sample(design: Design | None) -> Sample:
    return Sample(design.prompts, design.clusters) if design is not None else Sample(0, 0)


def _fewest_clusters(room: float, design: Design | None) -> int | None:
    if not 0 < room < 1:
        return None if room <= 0 else 1
    size = max(1, round(design.prompts / design.clusters)) if design is not None else 1
    need = clusters_needed(Goal(room), size)
    return need.clusters if need else None
