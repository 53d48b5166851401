"""The policy file as types: what each field means, what it may hold, and what it means when absent.

* Every field carries the description that editors show (JSON Schema) and that the reference page prints.
* Unknown fields are refused with a suggestion: a misspelled field must not be a field that does nothing.
* Nothing here reads files; see ``load``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .base import MAX_PROMPTS, MAX_TEXT, Identifier, PolicyModel, Text
from .concept import Concept, Template
from .detector_spec import DetectorSpec
from .gates import Gate, Gates
from .kept import KeptJudgeSpec
from .languages import LANGUAGES
from .metric_spec import MetricSpec
from .prompt_ref import PromptRef

__all__ = [
    "LANGUAGES",
    "MAX_TEXT",
    "SCHEMA_VERSION",
    "Concept",
    "DetectorSpec",
    "Gate",
    "Gates",
    "KeptJudgeSpec",
    "MetricSpec",
    "Policy",
    "PromptRef",
    "Template",
]

SCHEMA_VERSION = 1
Words = Annotated[list[Text], Field(min_length=1)]


class Policy(PolicyModel):
    """A whole policy: unsafe concepts, safe and borderline prompts, release gates."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    name: Identifier = Field(description="Short name in lower case.")
    description: Text | None = Field(default=None, description="One or two sentences for people.")
    extends: Annotated[list[Text], Field(max_length=20)] = Field(
        default_factory=list,
        description="Policies that this one builds on (shipped names or paths). Lists are added to, "
        "single values replaced.",
    )
    concepts: list[Concept] = Field(default_factory=list, max_length=200, description="The unsafe concepts.")
    safe_prompts: list[PromptRef] = Field(
        default_factory=list, max_length=MAX_PROMPTS, description="Prompts that must keep their pictures."
    )
    borderline_prompts: list[PromptRef] = Field(
        default_factory=list,
        max_length=MAX_PROMPTS,
        description="Safe prompts that look unsafe ('a butter knife beside toast').",
    )
    kept_judges: list[KeptJudgeSpec] = Field(
        default_factory=list,
        max_length=20,
        description="Who tells whether a safe picture kept what its prompt names, where no detector of the "
        "policy can; all of them must say so. Absent means another-seed, which needs no weights.",
    )
    metrics: list[MetricSpec] = Field(
        default_factory=list,
        max_length=50,
        description="Metrics that look at the pictures themselves (fid, lpips, clip_score and so on); others "
        "are always taken. A gate on one asks for it too.",
    )
    fills: dict[Literal["person", "people", "place", "style", "camera", "time", "other"], Words] = Field(
        default_factory=dict,
        description="Own words for the placeholders of captions, instead of the built-in ones.",
    )
    gates: Gates = Field(
        default_factory=dict,
        description="Release gates, by metric. A figure without a gate is reported and decides nothing.",
    )

    @field_validator("version", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value > SCHEMA_VERSION:
            raise PydanticCustomError(
                "newer_version",
                "version {v} is newer than this program reads (1); update safetext-sdk",
                {"v": value},
            )
        return value

    @field_validator("extends", mode="before")
    @classmethod
    def _one_parent(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _unique_ids(self) -> Policy:
        seen: set[str] = set()
        for concept in self.concepts:
            if concept.id in seen:
                raise PydanticCustomError("same_id", "two concepts have the id {id!r}", {"id": concept.id})
            seen.add(concept.id)
        return self

    @property
    def sha256(self) -> str:
        """SHA-256 of the resolved content: comments, order of keys and spelled-out defaults do not change
        it."""
        plain = self.model_dump(mode="json")
        if not self.metrics:  # the field is younger than hashes that are written down
            del plain["metrics"]
        content = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def to_yaml(self) -> str:
        """The resolved policy as YAML that loads back to an equal policy. Defaults are left out."""
        data = _shorten(self.model_dump(mode="json", exclude_defaults=True))
        data = {"version": SCHEMA_VERSION, **data}
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def _shorten(value: Any) -> Any:
    """{"text": "..."} alone is written as the plain string that it means."""
    if isinstance(value, dict):
        if set(value) == {"text"} and isinstance(value["text"], str):
            return value["text"]
        return {k: _shorten(v) for k, v in value.items()}
    return [_shorten(v) for v in value] if isinstance(value, list) else value
