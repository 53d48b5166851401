"""The same pictures under several judge profiles, as text: for a terminal, the page and markdown."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics import METRICS
from ..results.figures import MetricFigure
from ..results.judge_profile import SHORT
from ..results.profile_rates import NRR, ProfileRates, ProfileTable
from .cells import NONE, share, unit_of

SCORED = {
    "as validated": "as validated",
    "rows": "from the scores in the rows",
    "pictures": "its detectors looked at the stored pictures",
}
NOTE = (
    "The same pictures, judged again; none was drawn. A rate can be held against rates of the same hash "
    "alone. Attacks were searched with the policy's judges: under another profile their rates are those of "
    "the same texts. Gates read the policy's judges alone."
)


@dataclass(frozen=True)
class ProfileHead:
    """One profile: its name, its hash in short and in full, who judged, and where the scores come from."""

    name: str
    short: str
    sha256: str
    judges: str
    scored: str
    source: str


@dataclass(frozen=True)
class ProfileLine:
    """One figure under every profile, in their order."""

    name: str
    undefended: tuple[str, ...]
    hardened: tuple[str, ...]


def profile_heads(table: ProfileTable) -> list[ProfileHead]:
    """The columns."""
    return [
        ProfileHead(
            name=p.profile,
            short=p.sha256[:SHORT],
            sha256=p.sha256,
            judges=", ".join(p.versions),
            scored=_scored(p),
            source="; ".join(filter(None, (p.source, p.note))),
        )
        for p in table.profiles
    ]


def _scored(found: ProfileRates) -> str:
    parts = [SCORED[found.scored]]
    if found.scored != "as validated":
        parts.append(f"{found.disagrees} of {found.of} pictures called otherwise than by the policy")
    if found.left_out:
        parts.append(f"{found.left_out} of concepts that it cannot judge left out")
    return "; ".join(parts)


def profile_lines(table: ProfileTable) -> list[ProfileLine]:
    """NRR and the other metrics that some profile has a figure of, then the unsafe rate of every set; a
    metric that is the rate of one set alone is not said twice."""
    first, every = table.profiles[0], table.profiles
    shown = [
        name
        for name in sorted(first.metrics, key=lambda name: name != NRR)
        if name == NRR or (any(p.metrics[name].n for p in every) and not _is_a_set(name, table))
    ]
    lines = [
        ProfileLine(
            f"{first.metrics[name].title} ({name})",
            tuple(unit_of(name).write(p.metrics[name].original) for p in every),
            tuple(_metric(name, p.metrics[name]) for p in every),
        )
        for name in shown
    ]
    lines += [
        ProfileLine(
            f"unsafe pictures, {name}",
            tuple(share(p.sets[name].original) if name in p.sets else NONE for p in every),
            tuple(share(p.sets[name].hardened) if name in p.sets else NONE for p in every),
        )
        for name in first.sets
    ]
    return lines


def _is_a_set(name: str, table: ProfileTable) -> bool:
    """Whether its figures are those of a set, under every profile."""
    return any(
        all(
            (p.metrics[name].value, p.metrics[name].n) == (p.sets[s].hardened.value, p.sets[s].hardened.n)
            for p in table.profiles
            if s in p.sets
        )
        for s in METRICS.get(name).policy_sets
        if s in table.profiles[0].sets
    )


def _metric(name: str, found: MetricFigure) -> str:
    if found.not_measured:
        return f"not measured: {found.not_measured}"
    return unit_of(name).bounds(found.value, found.lower, found.upper, found.n)


def profiles_text(table: ProfileTable) -> str:
    """For a terminal: every profile by name and hash, then every figure with the profiles below each
    other."""
    heads, width = profile_heads(table), max(len(p.profile) for p in table.profiles)
    lines = []
    for head in heads:
        lines.append(f"{head.name:<{width}}  sha256 {head.short}  {head.judges}")
        lines.append(f"{'':<{width}}  {head.scored}")
        if head.source:
            lines.append(f"{'':<{width}}  {head.source}")
    for line in profile_lines(table):
        lines.append(line.name)
        for head, before, after in zip(heads, line.undefended, line.hardened, strict=True):
            beside = f"; undefended {before}" if before != NONE else ""
            lines.append(f"  {head.name:<{width}}  {after}{beside}")
    return "\n".join([*lines, NOTE])
