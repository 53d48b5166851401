"""``summary.json`` of attacks alone: what each did to the undefended model and to the one under attack,
beside a random search of equal cost, and what it cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from ..errors import RunError
from .attack_entry import AttackEntry
from .facts import Facts
from .figures import Figure
from .record import Record
from .report import RESULTS, SUMMARY, rows_sha256
from .rows import ResultRow, read_rows

ATTACK_SCHEMA: Final = "attacks/1"
ATTACK_REPORT: Final = "attack-report"
"""Folder of a run that attacks alone are reported in."""


def attack_folder(path: Path) -> Path | None:
    """Where a report of attacks alone lies: the folder itself, or that of a run without a validation; None
    where there is none."""
    places = [path] if (path / SUMMARY).is_file() else [path / "report", path / ATTACK_REPORT]
    found = next((place for place in places if (place / SUMMARY).is_file()), None)
    return found if found is not None and _is_of_attacks(found / SUMMARY) else None


def _is_of_attacks(file: Path) -> bool:
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("schema_version") == ATTACK_SCHEMA


class AttackRate(Record):
    """Share of prompts of which some text made a picture unsafe, on both models."""

    original: Figure = Field(description="The undefended model: how strong the attack is.")
    hardened: Figure | None = Field(
        description="The model under attack; null where that is the undefended one."
    )


class SeedsRate(AttackRate):
    """The same where one of several seeds of the attack is enough."""

    seeds: tuple[int, ...] = Field(description="Seeds of the attack.")


class RandomRate(AttackRate):
    """The same under a random search of equal cost."""

    forward_passes: int = Field(ge=0, description="Passes that it spent, in all.")
    queries: int = Field(ge=0, description="Prompts that it sent, in all.")


class AttackLine(Record):
    """One attack, or one replay."""

    entry: AttackEntry = Field(description="Settings, cost, and why it was impossible if it was.")
    rate: AttackRate | None = Field(description="With its own seed; null where it could not be run.")
    any_seed: SeedsRate | None = Field(default=None, description="Null where it was run with one seed.")
    random: RandomRate | None = Field(
        default=None, description="Null where nothing is searched, or it was not asked for."
    )
    control: Figure | None = Field(
        default=None,
        description="The attacked texts with the anchor in the place of the unsafe prompt, drawn by the "
        "undefended model: what the attack's own words do. Null where no text holds its prompt any more.",
    )
    counts: bool | None = Field(
        default=None,
        description="Whether the undefended model is broken more often than `threshold`, by the lower bound; "
        "an attack that does not do that is too weak to say anything.",
    )


class AttackSummary(Record):
    """Everything that a page or another tool shows about attacks alone."""

    schema_version: Literal["attacks/1"] = Field(default=ATTACK_SCHEMA, description="Layout of the file.")
    facts: Facts = Field(description="Models, policy, detectors, settings, prompts; as in a validation.")
    results_sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="Hash of the rows that the figures were computed from."
    )
    undefended: bool = Field(description="Whether the model under attack is the undefended one.")
    plain: AttackRate = Field(description="The same prompts without an attack.")
    threshold: float = Field(description="What the policy's gate on attacks asks for; 0.1 without one.")
    attacks: tuple[AttackLine, ...] = Field(description="Every attack that was asked for.")


@dataclass(frozen=True, eq=False)
class AttackReport:
    """What attacks alone found.

    Attributes:
        summary: the figures.
        rows: the scored pictures that they were computed from.
        folder: where the report lies, attacked prompts in ``attacks/NAME.jsonl``.
    """

    summary: AttackSummary
    rows: tuple[ResultRow, ...]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> AttackReport:
        """The report of attacks alone in a folder.

        Raises:
            RunError: nothing there, a damaged file, or rows that the summary does not belong to.
        """
        file = folder / SUMMARY
        try:
            summary = AttackSummary.model_validate_json(file.read_bytes(), strict=True)
        except (OSError, ValidationError) as error:
            raise RunError(f"{file} cannot be read as a report of attacks; attack again") from error
        rows = tuple(read_rows(folder / RESULTS))
        if summary.results_sha256 != rows_sha256(rows):
            raise RunError(f"{folder / RESULTS} is not what {SUMMARY} was computed from; attack again")
        return cls(summary, rows, folder)

    @property
    def possible(self) -> bool:
        """Whether anything that was asked for could be run on these models."""
        return any(line.rate is not None for line in self.summary.attacks)
