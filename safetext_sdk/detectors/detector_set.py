"""All detectors of a policy together: built before any picture is made, checked on every picture.

Rules, in one place:

* a picture is unsafe for a concept if ANY detector of that concept scores ANY of its labels at or above its
  threshold (with ``detector_rule: all`` in the policy: if all detectors of the concept do);
* a picture keeps what its prompt names only if ALL detectors that can tell see ALL expected labels;
* a detector that returns too few rows, lacks a label, or scores outside [0, 1] (NaN included) stops the run.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import DetectorError, SafeTextError
from ..results.detector_entry import DetectorEntry, Scores, unsafe_concepts
from ..results.kept import KeptVote, kept_by_all
from . import DETECTORS
from .base import Detector

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec, Policy
    from ..policy.judge_profiles import JudgeProfile

Rule = Literal["any", "all"]
FLOOR = 0.05
"""Scores below it are not written into a row, but for those of labels that somebody asked for."""


@dataclass(frozen=True)
class Assignment:
    """A detector at work for one concept."""

    concept: str
    detector: Detector


class DetectorSet:
    """The detectors of a policy for one model.

    Args:
        assignments: detector and concept; one detector object may work for several concepts.
        rules: concept -> how its detectors are combined; any where absent.
    """

    def __init__(self, assignments: Sequence[Assignment], rules: Mapping[str, Rule] | None = None) -> None:
        if not assignments:
            raise DetectorError("no detector: without one nothing can be said about a picture")
        self.assignments, self.rules = list(assignments), dict(rules or {})
        self.detectors: dict[tuple[str, str], Detector] = {}
        for each in assignments:
            self.detectors.setdefault((each.detector.name, each.detector.version), each.detector)
        versions: dict[str, set[str]] = {}
        for name, version in self.detectors:
            versions.setdefault(name, set()).add(version)
        if double := [name for name, found in versions.items() if len(found) > 1]:
            raise DetectorError(
                f"two versions of the detector {', '.join(double)} in one policy: their scores would share a "
                "name"
            )
        self._entries = tuple(self._entry(each) for each in assignments)

    @classmethod
    def build(
        cls, policy: Policy, model_id: str, device: str = "auto", concepts: Collection[str] | None = None
    ) -> DetectorSet:
        """Build every detector that the policy names for this model.

        Detectors that name the model (``models: [tiny]``) are made for it and take the place of the general
        ones.

        Args:
            concepts: those that have prompts for this model; None: all. The others are built only if a
                detector names the model.

        Raises:
            MissingExtraError: a detector's package is not installed.
            DetectorError: a detector is broken, or a concept has none for this model.
        """
        assignments: list[Assignment] = []
        for concept in policy.concepts:
            own = [s for s in concept.detectors if s.models is not None and model_id in s.models]
            if not own and concepts is not None and concept.id not in concepts:
                continue
            specs = own or [s for s in concept.detectors if s.models is None]
            if not specs:
                raise DetectorError(
                    f"concept {concept.id!r} has no detector for the model {model_id!r}; add one to its "
                    "detectors in the policy"
                )
            for spec in specs:
                assignments += [Assignment(concept.id, d) for d in _built(spec, concept.id, device)]
        return cls(assignments, {c.id: c.detector_rule for c in policy.concepts})

    @classmethod
    def of_profile(cls, profile: JudgeProfile, device: str = "auto") -> DetectorSet:
        """The detectors of a judge profile, as if one concept of its name had them.

        Raises:
            MissingExtraError, DetectorError: as `build`.
        """
        found = [
            Assignment(profile.name, detector)
            for spec in profile.detectors
            for detector in _built(spec, profile.name, device)
        ]
        return cls(found, {profile.name: profile.rule})

    def describe(self) -> tuple[DetectorEntry, ...]:
        """One entry an assignment: what is recorded with every figure."""
        return self._entries

    def _entry(self, each: Assignment) -> DetectorEntry:
        return DetectorEntry(
            concept=each.concept,
            name=each.detector.name,
            version=each.detector.version,
            threshold=each.detector.threshold,
            labels=tuple(each.detector.labels),
            rule=self.rules.get(each.concept, "any"),
            error_rates=getattr(each.detector, "error_rates", None),
        )

    @property
    def versions(self) -> dict[str, str]:
        """Name of every detector -> its version."""
        return dict(self.detectors.keys())

    def score(self, images: Sequence[Image]) -> list[Scores]:
        """Scores of every detector for every picture.

        Raises:
            DetectorError: a detector failed, or returned something that is not a score.
        """
        rows: list[Scores] = [{} for _ in images]
        for each in self.assignments:
            detector = each.detector
            if all(label in row.get(detector.name, {}) for row in rows for label in detector.labels):
                continue  # the same weights already scored these labels for another concept
            try:
                found = detector.score(images)
            except DetectorError:
                raise
            except Exception as error:
                raise DetectorError(
                    f"detector {detector.name} failed while scoring: {type(error).__name__}: {error}"
                ) from error
            if len(found) != len(images):
                raise DetectorError(
                    f"detector {detector.name} returned {len(found)} rows for {len(images)} pictures"
                )
            for row, scores in zip(rows, found, strict=True):
                _check(detector, scores)
                row.setdefault(detector.name, {}).update(scores)
        return rows

    def unsafe(self, scores: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Concepts that the picture shows, by the rule of each."""
        return unsafe_concepts(self._entries, scores)

    def expected(self, prompt: str) -> tuple[str, ...]:
        """What a picture of the prompt should show, by the detectors that can tell; empty if none can."""
        return tuple(dict.fromkeys(label for d in self.detectors.values() for label in d.expected(prompt)))

    def can_tell(self, prompt: str) -> bool:
        """Does a detector know what the prompt names, and is none of it what the policy calls unsafe?"""
        asked = self.expected(prompt)
        unsafe = {
            label for a in self.assignments for label in getattr(a.detector, "unsafe_ids", a.detector.labels)
        }
        return bool(asked) and not unsafe & set(asked)

    def kept(self, scores: Mapping[str, Mapping[str, float]], prompt: str) -> bool | None:
        """Do all detectors that can tell see everything that the prompt names? None if none can tell."""
        return kept_by_all(self.kept_votes(scores, prompt))

    def kept_votes(self, scores: Mapping[str, Mapping[str, float]], prompt: str) -> tuple[KeptVote, ...]:
        """Of every detector that can tell: its score of the named thing that it sees least, and its
        threshold."""
        able = [(d, labels) for d in self.detectors.values() if (labels := d.expected(prompt))]
        return tuple(
            KeptVote(
                judge=d.name,
                value=min(scores[d.name].get(label, -1.0) for label in labels),
                rule="at least",
                limit=d.threshold,
            )
            for d, labels in able
        )

    def shows(self, scores: Mapping[str, Mapping[str, float]], labels: Sequence[str] = ()) -> str | None:
        """One word for a person: the unsafe concept, else the label that all detectors knowing it see most
        clearly.

        Args:
            labels: those to choose from first, e.g. what the prompt names.
        """
        if unsafe := self.unsafe(scores):
            return unsafe[0]
        detectors = list(self.detectors.values())
        groups = {
            family for d in detectors for family in getattr(d, "families", ())
        }  # no thing that one sees
        common: dict[str, float] = {}
        for label in dict.fromkeys(x for d in detectors for x in scores[d.name] if x not in groups):
            known = [(scores[d.name][label], d.threshold) for d in detectors if label in scores[d.name]]
            if all(score >= threshold for score, threshold in known):
                common[label] = min(score for score, _ in known)
        wanted = {label: common[label] for label in labels if label in common}
        pool = wanted or common
        return max(pool, key=lambda label: pool[label]) if pool else None

    def trim(self, scores: Scores, keep: Sequence[str], floor: float = FLOOR) -> Scores:
        """What goes into a row: labels of the policy, those asked for, and every score of at least ``floor``;
        six digits."""
        asked = {label for a in self.assignments for label in a.detector.labels} | set(keep)
        return {
            name: {k: round(v, 6) for k, v in found.items() if v >= floor or k in asked}
            for name, found in scores.items()
        }


def _built(spec: DetectorSpec, concept: str, device: str) -> Sequence[Detector]:
    """The detectors of one entry of a policy; whatever goes wrong is a `SafeTextError`."""
    build = DETECTORS.get(spec.name)
    try:
        detectors = build(spec, device)
    except SafeTextError:
        raise
    except Exception as error:
        raise DetectorError(
            f"detector {spec.name!r} of concept {concept!r} cannot be built: {error}"
        ) from error
    if not detectors:
        raise DetectorError(f"detector {spec.name!r} of concept {concept!r} built nothing")
    return detectors


def _check(detector: Detector, scores: Mapping[str, float]) -> None:
    missing = [label for label in detector.labels if label not in scores]
    if missing:
        raise DetectorError(f"detector {detector.name} gave no score for {', '.join(missing)}")
    for label, value in scores.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0.0 <= value <= 1.0:
            raise DetectorError(
                f"detector {detector.name} gave {value!r} for {label!r}: a score lies in [0, 1]"
            )
