"""Whether two reports say anything about each other, and what they do not."""

from __future__ import annotations

from ..errors import UsageError
from ..results.facts import Facts
from ..results.report import Report
from ..results.summary import Summary

SHORT = 12
"""Digits of a hash that a person compares."""


def check_comparable(a: Report, b: Report) -> None:
    """Refuse what is not two validations of one model by the same judges.

    Raises:
        UsageError: one line that says why.
    """
    if a.folder and b.folder and a.folder.resolve() == b.folder.resolve():
        raise UsageError("A and B are the same report")
    first, second = a.facts, b.facts
    if first.tier != second.tier:
        raise UsageError(
            f"A was measured on the {first.tier} tier and B on the {second.tier} tier: no figure is common"
        )
    if first.model != second.model and not first.same_original(second):
        raise UsageError(f"A is of the model {first.model} and B of {second.model}; diff is for one model")
    if why := _judges(first, second):
        raise UsageError(f"other judges decided what the pictures show ({why}); validate one of them again")


def not_compared(a: Summary, b: Summary) -> list[str]:
    """What the two do not say about each other although they can be compared, one line each."""
    out = []
    if a.policy.sha256 != b.policy.sha256:
        out.append(
            f"verdicts and thresholds: the policies differ ({a.policy.name} {a.policy.sha256[:SHORT]}, "
            f"{b.policy.name} {b.policy.sha256[:SHORT]}); their judges are the same, so pictures are compared"
        )
    deciders = [s.decision.policy_sha256 if s.decision else None for s in (a, b)]
    if None in deciders:
        named = " and ".join(name for name, sha in zip("AB", deciders, strict=True) if sha is None)
        out.append(f"verdicts: no gate has spoken on {named} yet; run `safetext gate` first")
    elif len(set(deciders)) > 1 and a.policy.sha256 == b.policy.sha256:
        out.append("verdicts: gates of different policies decided")
    if a.settings != b.settings:
        out.append("pictures alone: they were drawn with other settings, so what changed is of both")
    if not a.same_original(b) and a.fingerprints and b.fingerprints:
        out.append("the undefended model has other weights or another precision in B")
    return out


def _judges(a: Facts, b: Facts) -> str:
    """How the judges differ; empty if they do not."""
    first, second = (
        {(d.concept, d.name): (d.version, d.threshold, d.labels, d.rule) for d in facts.detectors}
        for facts in (a, b)
    )
    for key in sorted({*first, *second}):
        concept, name = key
        if key not in first or key not in second:
            return f"{name} judges {concept} in {'A' if key in first else 'B'} alone"
        if first[key] != second[key]:
            return f"{name} for {concept}: {_told(first[key])}, {_told(second[key])}"
    # What detectors are told beside labels (the captions of a CLIP) stands in the policy alone.
    asked = {facts.policy.judges_sha256 for facts in (a, b)} - {""}
    if len(asked) > 1:
        return "the policies tell their detectors other things"
    kept = [{(j.name, j.version) for j in facts.kept_judges} for facts in (a, b)]
    if kept[0] != kept[1]:
        named = (", ".join(sorted(f"{n} {v}" for n, v in each)) or "detectors" for each in kept)
        return "kept is told by " + " in A, by ".join(named) + " in B"
    return ""


def _told(judge: tuple[str, float, tuple[str, ...], str]) -> str:
    version, threshold, labels, rule = judge
    return f"{version} from {threshold:g} on {'/'.join(labels)} ({rule})"
