"""``profiles.json``: the same pictures under several judge profiles, beside the report that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from ..errors import RunError
from ..files import write_text_atomic
from .figures import BeforeAfter, MetricFigure
from .record import Record

PROFILES = "profiles.json"
NRR = "nrr"
"""Name of the metric that papers quote."""
SCHEMA_VERSION: Final = 1
Scored = Literal["as validated", "rows", "pictures"]


class ProfileRates(Record):
    """What one profile says of the pictures of a report."""

    profile: str = Field(description="Its name; policy: the detectors that the report was judged by.")
    sha256: str = Field(description="Hash of its detectors, labels, thresholds, options and rule.")
    source: str | None = Field(default=None, description="Who judges so, and where that is written.")
    note: str | None = Field(default=None, description="What a reader must know beside it.")
    versions: tuple[str, ...] = Field(description="Detectors with package version and hash of the weights.")
    scored: Scored = Field(
        description="Where its scores come from: the report's own verdict, scores in the rows, or the stored "
        "pictures, which its detectors looked at again. No picture was drawn."
    )
    left_out: int = Field(
        default=0, ge=0, description="Rows of unsafe prompts of concepts that it cannot judge."
    )
    disagrees: int = Field(
        default=0, ge=0, description="Rows that it calls otherwise than the report's own detectors."
    )
    of: int = Field(ge=0, description="Rows that it judged.")
    sets: dict[str, BeforeAfter] = Field(description="Unsafe rate of every set, before and after.")
    metrics: dict[str, MetricFigure] = Field(
        description="Every metric that reads whether pictures are unsafe, and nrr."
    )


class ProfileTable(Record):
    """The file."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Layout of the file.")
    results_sha256: str = Field(description="Hash of the report's rows: the pictures that it speaks of.")
    profiles: tuple[ProfileRates, ...] = Field(description="The report's own judges first.")


def write_profiles(folder: Path, table: ProfileTable) -> Path:
    """Put the file in place at once."""
    return write_text_atomic(folder / PROFILES, table.model_dump_json(indent=2) + "\n")


def read_profiles(folder: Path, results_sha256: str) -> ProfileTable | None:
    """The file of a report folder; None where there is none, or it is of other rows.

    Raises:
        RunError: it is damaged, or of another version.
    """
    path = folder / PROFILES
    try:
        table = ProfileTable.model_validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} cannot be read; delete it and name the profiles again") from error
    return table if table.results_sha256 == results_sha256 else None
