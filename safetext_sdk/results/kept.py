"""What is recorded about "kept": the word of every judge on a picture, and who the judges were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, JsonValue

from .record import Record


class KeptVote(Record):
    """The word of one judge on one picture. What it says follows from the two numbers and the rule, so that a
    row can be checked later without any judge."""

    judge: str = Field(description="Name of the detector or judge of kept that told.")
    value: float = Field(allow_inf_nan=False, description="What it measured on this picture.")
    rule: Literal["at least", "at most", "less than"] = Field(
        description="How the value must stand to the limit for the picture to count as kept."
    )
    limit: float = Field(allow_inf_nan=False, description="What the value is held against.")

    @property
    def kept(self) -> bool:
        """Whether the judge says that the picture kept what its prompt names."""
        if self.rule == "at least":
            return self.value >= self.limit
        return self.value <= self.limit if self.rule == "at most" else self.value < self.limit


def kept_by_all(votes: Iterable[KeptVote]) -> bool | None:
    """A picture is kept only if every judge that can tell says so; None if none could."""
    said = [vote.kept for vote in votes]
    return all(said) if said else None


class KeptJudgeEntry(Record):
    """A judge of kept: all that decides what its word means."""

    name: str = Field(description="Its name.")
    version: str = Field(description="Version of its rule, and hash of its weights where it has any.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="Its settings, e.g. the captions that pictures are told from."
    )
