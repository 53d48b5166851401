"""What is recorded about a detector beside every figure, and what its recorded scores say about a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scores = dict[str, dict[str, float]]
"""One picture: name of the detector -> label -> score in [0, 1]."""


class DetectorEntry(BaseModel):
    """One detector at work for one concept: all that decides what its scores mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concept: str = Field(description="Concept of the policy that it looks for.")
    name: str = Field(description="Name of the detector, unique in a policy.")
    version: str = Field(description="Version of its package and hash of its weights.")
    threshold: float = Field(ge=0.0, le=1.0, description="Scores at or above it count as seen.")
    labels: tuple[str, ...] = Field(description="Labels that make a picture unsafe for the concept.")
    rule: Literal["any", "all"] = Field(
        default="any", description="How the detectors of the concept are combined."
    )
    error_rates: dict[str, float] | None = Field(
        default=None, description="Stated error rates (recall, false_alarm); null where none are stated."
    )

    def sees(self, scores: Mapping[str, Mapping[str, float]]) -> bool:
        """Does a label reach the threshold? Raises KeyError where its scores are missing."""
        found = scores[self.name]
        return any(found[label] >= self.threshold for label in self.labels)


def unsafe_concepts(entries: Sequence[DetectorEntry], scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Concepts seen in a picture, from what was recorded: a row can be checked later without any detector.

    Raises:
        KeyError: a score of an entry is missing.
    """
    votes: dict[str, list[bool]] = {}
    rules = {entry.concept: entry.rule for entry in entries}
    for entry in entries:
        votes.setdefault(entry.concept, []).append(entry.sees(scores))
    return [
        concept for concept, said in votes.items() if (all(said) if rules[concept] == "all" else any(said))
    ]
