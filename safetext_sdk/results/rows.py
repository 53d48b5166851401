"""results.jsonl: one scored picture a line, appended to a file beside it as it is scored, put in place whole
at the end.

A killed run leaves at worst half a last line, which is dropped on reading; every whole row is used again if
its key still fits. What is not a number is refused on reading: no such score gets into a figure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ..errors import RunError
from ..files import write_together
from .kept import KeptVote
from .record import SCHEMA_VERSION, Record

Model = Literal["original", "hardened"]
Label = Literal["unsafe", "safe", "borderline"]
Score = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
CONTROL = ":control"
"""An attack's control is the set called like the attack with this at the end."""
Question = tuple[str, str, str, int, str | None, str | None, str | None, float]
Trial = tuple[str, str, str, int, str | None, str | None]
"""Set, attacked prompt, negative prompt unless the attack chose it, seed, anchor, concept."""


class PictureChange(Record):
    """How far a picture is from the original's at the same prompt and seed."""

    mean_abs: Score = Field(description="Mean absolute RGB difference, 0 to 1.")
    ssim: float = Field(
        ge=-1.0, le=1.0, allow_inf_nan=False, description="Structural similarity; 1 for equal pictures."
    )


class ResultRow(Record):
    """One scored picture."""

    schema_version: Literal[2] = Field(default=SCHEMA_VERSION, description="Layout of the row.")
    key: str = Field(description="Hash of everything that the row depends on.")
    model: Model = Field(description="Who made the picture.")
    set: str = Field(
        description="unsafe, safe, safe_unseen, borderline, negative, negative_unsafe, custom, an attack, or "
        "an attack's control (NAME:control)."
    )
    label: Label = Field(description="What the prompt is.")
    concept: str | None = Field(default=None, description="The concept that an unsafe prompt asks for.")
    cluster: str = Field(
        description="Rows of a cluster depend on each other: one synonym of a concept, one safe group."
    )
    anchor: str | None = Field(
        default=None, description="The safe prompt that an unsafe one is redirected to."
    )
    prompt: str = Field(description="The prompt, after the attack if the set is one.")
    origin: str | None = Field(
        default=None, description="The prompt that an attack turned into this one; null for a plain prompt."
    )
    negative_prompt: str = Field(default="", description="The negative prompt.")
    guidance: float = Field(
        default=1.0,
        gt=0.0,
        allow_inf_nan=False,
        description="How often the guidance of the settings; 1 unless an attack raised it.",
    )
    seed: int = Field(description="Seed of the picture.")
    image: str = Field(description="Path of the picture relative to the report folder.")
    scores: dict[str, dict[str, Score]] = Field(
        description="Detector: label: score; those of policy and prompt always, others from 0.05 on."
    )
    detectors: dict[str, str] = Field(description="Detector: version of its package and hash of its weights.")
    unsafe: bool = Field(description="Whether the picture shows a concept, by the rule of each.")
    shows: str | None = Field(
        default=None,
        description="The concept, else the label that all detectors see.",
    )
    expected: tuple[str, ...] = Field(
        default=(), description="What the prompt names, as far as a detector can tell."
    )
    kept: bool | None = Field(
        default=None, description="Whether the picture shows all of it; null where no detector can tell."
    )
    kept_by: tuple[KeptVote, ...] = Field(
        default=(), description="Who told that, and by which numbers; all of them must say so."
    )
    anchor_shown: bool | None = Field(
        default=None, description="Whether it shows its anchor; null where no detector can tell."
    )
    change: PictureChange | None = Field(
        default=None, description="Distance to the original's picture; null where it is not measured."
    )

    @property
    def question(self) -> Question:
        """What makes two rows the same question to two models."""
        return (
            self.set,
            self.prompt,
            self.negative_prompt,
            self.seed,
            self.anchor,
            self.concept,
            self.origin,
            self.guidance,
        )

    @property
    def trial(self) -> Trial:
        """What rows share that are tries at one thing: an attacker may choose text and negative prompt, and
        needs one that gets through. A row without an origin is a trial of its own."""
        given = "" if self.origin is not None else self.negative_prompt
        return (self.set, self.origin or self.prompt, given, self.seed, self.anchor, self.concept)

    @property
    def is_control(self) -> bool:
        """Whether the anchor stands where the unsafe prompt was; drawn by the undefended model alone."""
        return is_control(self.set)

    @property
    def listed_as(self) -> str:
        """The set as tables list it: prompts of the user once a label."""
        return f"custom:{self.label}" if self.set == "custom" else self.set

    def line(self) -> str:
        """The row as one line of the file."""
        return self.model_dump_json() + "\n"


def control_of(attack: str) -> str:
    """Name of the set that is an attack's control."""
    return attack + CONTROL


def is_control(set_: str) -> bool:
    """Whether a set is some attack's control."""
    return set_.endswith(CONTROL)


def read_rows(path: Path, *, partial: bool = False) -> list[ResultRow]:
    """All rows of a file.

    Args:
        partial: drop a damaged last line (a run that was killed while writing), and all rows if they are of
            another version: they will be scored again. Elsewhere both are errors.

    Raises:
        RunError: the file is missing, damaged, of another version, or holds a value that is not a number.
    """
    return list(iter_rows(path, partial=partial))


def iter_rows(
    path: Path, *, partial: bool = False, seen: Callable[[bytes], object] | None = None
) -> Iterator[ResultRow]:
    """`read_rows`, one at a time.

    Args:
        seen: told every line as it lies in the file.
    """
    try:
        handle = path.open("rb")
    except OSError as error:
        if partial:
            return
        raise RunError(f"no results at {path}; run `safetext validate` first") from error
    with handle:
        for number, line in enumerate(handle, 1):
            if number == 1 and (found := _version(line)) not in (None, SCHEMA_VERSION):
                if partial:
                    return
                raise RunError(
                    f"{path} has rows of schema {found}, this version reads {SCHEMA_VERSION}; validate again"
                )
            if seen is not None:
                seen(line)
            try:
                yield ResultRow.model_validate_json(line, strict=True)
            except ValidationError as error:
                if partial and not handle.readline():
                    return
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise RunError(
                    f"{path}:{number} is damaged ({where + ': ' if where else ''}{first['msg']}); "
                    "delete the file and validate again"
                ) from error


def _version(line: bytes) -> object:
    """Schema version that a line names: 1 where it names none, None where the line cannot be read."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row.get("schema_version", 1) if isinstance(row, dict) else None


class RowFile:
    """Append-only while a validation runs.

    Args:
        path: where rows are written as they are scored.
        earlier: file of a finished report whose rows may be used again; it is not touched.
        keep: how a row is held in memory, e.g. packed.
    """

    def __init__(
        self,
        path: Path,
        earlier: Path | None = None,
        keep: Callable[[ResultRow], ResultRow] = lambda row: row,
    ) -> None:
        self.path, self._keep = path, keep
        own = [keep(row) for row in iter_rows(path, partial=True)]
        known = iter_rows(earlier, partial=True) if earlier is not None else ()
        self.rows: dict[str, ResultRow] = {row.key: keep(row) for row in known}
        self.rows.update({row.key: row for row in own})
        # What was read is written back whole: a half line must not be continued.
        write_rows(path, own)

    def add(self, rows: Iterable[ResultRow]) -> None:
        """Append rows and flush them to disk."""
        rows = list(rows)
        with self.path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.writelines(row.line() for row in rows)
            handle.flush()
            os.fsync(handle.fileno())
        self.rows.update({row.key: self._keep(row) for row in rows})


def write_rows(path: Path, rows: Iterable[ResultRow]) -> None:
    """Replace a file of rows at once."""
    write_together(path.parent, {path.name: (row.line() for row in rows)})
