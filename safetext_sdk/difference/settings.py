"""Settings and weights that are not the same in two reports and in the runs beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import RunError
from ..models.run_folder import RunFolder
from ..results.report import Report
from .entries import Setting

OF_FACTS = (
    "safetext_version", "method", "recipe", "seeds", "book_seed", "settings", "encoders", "plan",
    "attacks_asked", "exported", "bounds", "own_prompts", "tier",
)  # fmt: skip
"""What a report records of how it was made."""
OF_RUN = ("source", "method", "recipe", "config", "seed", "how", "book_sha256", "device", "versions")
"""What a run's manifest records of how it was hardened."""
UNTOLD = ("run.source.files.", "run.source.path", "run.source.ref")
"""Hashes of the original's files are its fingerprint, and where it lay says nothing."""


def settings_that_differ(a: Report, b: Report) -> list[Setting]:
    """Every setting of hardening, policy and validation that is not the same, sorted by name."""
    return _differing(_settings(a), _settings(b))


def weights_that_differ(a: Report, b: Report) -> list[Setting]:
    """Every measured file that is not the same: its sha256 in both."""
    return _differing(dict(a.facts.measured_files()), dict(b.facts.measured_files()))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Setting]:
    return [
        Setting(name=name, a=a.get(name), b=b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    ]


def _settings(report: Report) -> dict[str, Any]:
    facts = report.facts
    plain = facts.model_dump(mode="json", include=set(OF_FACTS))
    found = dict(_flat(plain))
    found |= dict(_flat(facts.policy.model_dump(mode="json", exclude={"judges_sha256"}), "policy"))
    found |= {f"undefended.{k}": v for k, v in facts.fingerprints.items() if k == "original"}
    for attack in facts.attacks:
        found |= dict(_flat(attack.settings, f"attack.{attack.name}"))
    if facts.audited is not None:
        found["audited"] = facts.audited.ref
    if facts.bound is not None and report.folder is not None:
        try:
            record = RunFolder.open(report.folder / facts.bound.at).record
        except RunError:  # copied without its run
            return found
        run = dict(_flat(record.model_dump(mode="json", include=set(OF_RUN)), "run"))
        found |= {name: value for name, value in run.items() if not name.startswith(UNTOLD)}
    return found


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``a.b``: 1. Lists stay whole."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
