"""``attacks/NAME.jsonl``: what became of each attacked prompt, one a line, on disk as soon as it is known.

The file goes on where it stopped, is handed out, and can be replayed on another model without any search. A
killed run leaves at worst half a last line, which is dropped on reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, JsonValue, ValidationError

from ..errors import RunError
from ..files import write_text_atomic
from .record import Record

FOLDER: Final = "attacks"
SCHEMA: Final = 1


class FoundOn(Record):
    """The models that attacked texts were found on."""

    model: str = Field(description="Id of the original model.")
    run: str | None = Field(default=None, description="Name of the run that was attacked; null without one.")
    original: str = Field(description="Hash over all components of the original's pipeline.")
    hardened: str = Field(description="The same of the model under attack.")

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.run} ({self.model})" if self.run else self.model


class TypedBeside(Record):
    """What is typed beside one text."""

    negative: str = Field(default="", description="The negative prompt.")
    guidance: float = Field(
        default=1.0, gt=0.0, allow_inf_nan=False, description="How often the guidance of the settings."
    )


class AttackedPrompt(Record):
    """What became of one prompt under one attack: the attack's own result, and what it depends on."""

    schema_version: Literal[1] = Field(default=SCHEMA, description="Layout of the row.")
    key: str = Field(description="Hash of `state` and prompt: a row of another key is not used again.")
    state: str = Field(
        description="Hash of all that a result depends on beside its prompt: attack, version and settings, "
        "both models, the policy's words, picture seeds; how pictures are drawn and judged, where it looks "
        "at them."
    )
    attack: str = Field(description="Name of the attack.")
    settings: dict[str, JsonValue] = Field(description="Its settings, defaults included.")
    found_on: FoundOn = Field(description="The models that it was run on.")
    picture_seeds: tuple[int, ...] = Field(description="Seeds of the pictures that success is told on.")
    concept: str | None = Field(default=None, description="The concept that the prompt asks for.")
    cluster: str = Field(default="", description="What the prompt is not independent of: its synonym.")
    anchor: str | None = Field(default=None, description="The safe prompt that it is redirected to.")
    prompt: str = Field(description="The prompt that was attacked.")
    texts: tuple[str, ...] = Field(min_length=1, description="What an attacker types instead; any of them.")
    beside: tuple[TypedBeside, ...] = Field(
        default=(), description="What is typed beside each text; empty where nothing is."
    )
    success: bool | None = Field(
        default=None, description="Whether the attack saw the concept in a picture; null where it made none."
    )
    queries: int = Field(default=0, ge=0, description="Prompts sent to the model under attack.")
    forward_passes: int = Field(
        default=0, ge=0, description="Passes through encoders and denoiser, backward ones included."
    )
    seconds: float = Field(default=0.0, ge=0.0, description="Wall time.")
    notes: dict[str, str] | None = Field(default=None, description="What the attack wants kept.")

    def line(self) -> str:
        """The row as one line of the file."""
        return self.model_dump_json() + "\n"


def attacked_path(folder: Path, name: str) -> Path:
    """Where the rows of an attack lie in a report folder."""
    return folder / FOLDER / f"{name}.jsonl"


def read_attacked(path: Path) -> tuple[list[AttackedPrompt], bool]:
    """All rows of a file, and whether its end is whole: a half last line is dropped, and must not be gone on
    with.

    Raises:
        RunError: the file cannot be read, or a line before the last one is damaged or of another version.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = raw.decode("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    whole = lines[-1] == ""
    rows: list[AttackedPrompt] = []
    for number, line in enumerate(lines if not whole else lines[:-1], 1):
        try:
            rows.append(AttackedPrompt.model_validate_json(line, strict=True))
        except ValidationError as error:
            if number == len(lines) or (whole and number == len(lines) - 1):
                return rows, False
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RunError(
                f"{path}:{number} is no attacked prompt ({where + ': ' if where else ''}{first['msg']})"
            ) from error
    return rows, whole


class AttackedFile:
    """The rows of one attack, appended while it runs and put in order when it is done.

    Args:
        path: the file; what lies there of another ``state`` is not used again, and is gone when this run is
            done.
        state: see `AttackedPrompt.state`.

    Raises:
        RunError: what lies there is no file of attacked prompts.
    """

    def __init__(self, path: Path, state: str) -> None:
        self.path, self.state = path, state
        found, whole = read_attacked(path) if path.is_file() else ([], True)
        self._lines = [row.line() for row in found]
        if not whole:
            write_text_atomic(path, "".join(self._lines))
        self.rows: dict[str, AttackedPrompt] = {row.prompt: row for row in found if row.state == state}
        """Usable rows, by prompt."""

    def add(self, row: AttackedPrompt) -> None:
        """Append a row and flush it to disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(row.line())
            handle.flush()
            os.fsync(handle.fileno())
        self._lines.append(row.line())
        self.rows[row.prompt] = row

    def finish(self, prompts: Iterable[str]) -> None:
        """Put the rows in the order of ``prompts``, then those of other prompts; leave the file alone where
        that changes nothing."""
        order: Mapping[str, AttackedPrompt] = {p: self.rows[p] for p in prompts if p in self.rows} | self.rows
        lines = [row.line() for row in order.values()]
        if lines != self._lines:
            write_text_atomic(self.path, "".join(lines))
            self._lines = lines
