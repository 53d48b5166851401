"""The base of everything that is written down: frozen, and closed to fields that nobody declared."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION: Final = 2
"""Layout of results.jsonl and summary.json; it rises whenever a reader would have to change."""


class Record(BaseModel):
    """A value that does not change after it was made, with its JSON form and schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")
