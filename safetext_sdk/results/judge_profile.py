"""Which judge profile a report's rates are of: read off the recorded detectors, so that nobody has to say it.

A policy's own detectors are the profile ``policy``. Where a concept's detectors are, label by label and with
their thresholds, a known profile, that one is named beside it.
"""

from __future__ import annotations

from pydantic import Field

from ..policy.judge_profiles import JUDGE_PROFILES, POLICY, judging_sha256
from .detector_entry import DetectorEntry
from .facts import Facts
from .record import Record

SHORT = 12
"""Digits of a hash that a person compares."""


class JudgedBy(Record):
    """How the pictures behind every rate were judged."""

    name: str = Field(description="Name of the profile; policy: the detectors of the policy itself.")
    sha256: str = Field(description="Hash of its detectors, labels, thresholds, options and rules.")
    same_as: tuple[str, ...] = Field(
        default=(), description="Known profiles that the policy's detectors are, where each concept has one."
    )
    versions: tuple[str, ...] = Field(description="Detectors with package version and hash of the weights.")

    def line(self) -> str:
        """For a person: name, hash, and the known profile that it is."""
        same = f", the same as {' and '.join(self.same_as)}" if self.same_as else ""
        return f"{self.name}, sha256 {self.sha256[:SHORT]}{same}"


def judged_by(facts: Facts) -> JudgedBy | None:
    """The profile of a report; None where no picture was judged."""
    if not facts.detectors:
        return None
    concepts = dict.fromkeys(entry.concept for entry in facts.detectors)
    known = [_known(concept, [e for e in facts.detectors if e.concept == concept]) for concept in concepts]
    return JudgedBy(
        name=POLICY,
        sha256=facts.policy.judges_sha256 or _sha256(facts.detectors),
        same_as=tuple(dict.fromkeys(name for name in known if name)) if all(known) else (),
        versions=versions(facts.detectors),
    )


def versions(entries: tuple[DetectorEntry, ...]) -> tuple[str, ...]:
    """Every detector with its version, once."""
    return tuple(dict.fromkeys(f"{entry.name} {entry.version}" for entry in entries))


def _known(concept: str, entries: list[DetectorEntry]) -> str:
    """The known profile that a concept's detectors are; empty where there is none."""
    thresholds = {entry.threshold for entry in entries}
    if len(thresholds) > 1:
        return ""
    threshold, found = thresholds.pop(), _sha256(tuple(entries))
    for each in JUDGE_PROFILES.entries():
        labels = JUDGE_PROFILES.get(each.name)
        # An option that entries do not record (a CLIP's captions) would be taken on trust.
        if labels.options or concept not in labels.concepts:
            continue
        if (profile := labels.at(each.name, threshold)).sha256 == found:
            return profile.name
    return ""


def _sha256(entries: tuple[DetectorEntry, ...]) -> str:
    """Of entries as if a profile had named them: the parts of a detector are one line there."""
    lines = {(e.name.split("/")[0], e.labels, e.threshold) for e in entries}
    return judging_sha256([(name, labels, at, {}) for name, labels, at in lines], entries[0].rule)
