"""What is recorded of a metric that is taken from pictures: the figure, and all that it depends on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from .figures import Figure
from .record import Record
from .rows import Model

FOLDER = "measures"
"""Values of single pictures lie here in the report folder, ``NAME.jsonl``."""


class PictureValue(Record):
    """A metric's value of one picture: a line of ``measures/NAME.jsonl``."""

    model: Model = Field(description="Who made the picture.")
    set: str = Field(description="Its set.")
    prompt: str = Field(description="Its prompt.")
    seed: int = Field(description="Its seed.")
    image: str = Field(description="Path of the picture relative to the report folder.")
    value: float = Field(allow_inf_nan=False, description="The value.")


class MeasureEntry(Record):
    """A metric that was asked for and is taken from pictures. One that could not be taken is here with the
    reason, so that nothing is silently left out."""

    name: str = Field(description="The metric.")
    version: str = Field(description="Version of its rule.")
    asked_by: Literal["policy", "call"] = Field(description="The policy (or its gates), or the call.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="All that the figure depends on: options, and name and hash of every model that it used.",
    )
    figure: Figure | None = Field(default=None, description="The figure; null where it was not measured.")
    original: float | None = Field(
        default=None, description="The same figure on the undefended model; null where there is none."
    )
    set: str = Field(default="", description="The set whose pictures it was taken from.")
    values_sha256: str | None = Field(
        default=None, description="Hash of measures/NAME.jsonl; null where no picture has a value of its own."
    )
    notes: tuple[str, ...] = Field(default=(), description="What must be said beside the figure.")
    not_measured: str | None = Field(default=None, description="Why nothing was measured, and what to do.")


def values_file(name: str) -> str:
    """Where values of single pictures lie, relative to the report folder."""
    return f"{FOLDER}/{name}.jsonl"


def recorded_values(entries: Iterable[MeasureEntry]) -> dict[str, str]:
    """File: sha256 of all values that entries speak of."""
    return {values_file(e.name): e.values_sha256 for e in entries if e.values_sha256 is not None}


def drop_values(folder: Path, entries: Iterable[MeasureEntry]) -> None:
    """Remove the values of an earlier report that the one in ``folder`` does not speak of."""
    own = recorded_values(entries)
    for path in (folder / FOLDER).glob("*.jsonl"):
        if values_file(path.stem) not in own:
            path.unlink()
