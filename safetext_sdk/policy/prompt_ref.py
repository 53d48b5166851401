"""Where the prompts of a policy come from."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from .base import PolicyModel, Sha256, Text, or_string
from .languages import Language

_COMMIT = re.compile("[0-9a-f]{40}", re.IGNORECASE)


class PromptRef(PolicyModel):
    """One prompt, or a place where many prompts come from. Exactly one of text, shipped, path, hub,
    dataset; a ``dataset`` may have a ``path`` to a local copy of it."""

    text: Text | None = Field(default=None, description="One prompt. A plain string means the same.")
    anchor: Text | None = Field(
        default=None, description="For an unsafe text: the safe prompt that it is redirected to."
    )
    group: Text | None = Field(
        default=None,
        description="Prompts of one group are held out together (for instance one safe concept).",
    )
    shipped: Text | None = Field(
        default=None,
        description="Name of a shipped set, or of an installed one (`safetext policy sources`): for safe and "
        "borderline prompts e.g. everyday, for unsafe ones pairs of plain sentences, e.g. statements/nudity.",
    )
    path: Text | None = Field(
        default=None,
        description="Local .jsonl, .csv, .txt or .parquet (extra: parquet) file, relative to the policy "
        "file.",
    )
    hub: Text | None = Field(
        default=None,
        description="Dataset repository on the Hugging Face hub, e.g. 'owner/name'; needs `file`.",
    )
    dataset: Text | None = Field(
        default=None,
        description="A published set that may be trained on (`safetext prompts list`), or a part of it, e.g. "
        "coprov2/sexual. With `path`, a local copy of it. `column` and `anchor_column` name other columns "
        "than its own.",
    )
    file: Text | None = Field(default=None, description="File inside the hub repository.")
    revision: Text | None = Field(
        default=None,
        description="Commit of the hub repository, all 40 digits of it. With a branch, a tag or nothing, the "
        "file's sha256 is required.",
    )
    column: Text = Field(default="prompt", description="Column (or JSON key) that holds the prompt.")
    anchor_column: Text | None = Field(
        default=None, description="Column that holds the anchor of an unsafe prompt."
    )
    group_column: Text | None = Field(
        default=None, description="Column whose value says which prompts are held out together."
    )
    sha256: Sha256 | None = Field(
        default=None, description="Expected SHA-256 of the file; another content is refused."
    )
    limit: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Take at most this many prompts of it (chosen by hash)."
    )
    models: list[Text] | None = Field(
        default=None, description="Use it only for these model ids; absent means every model."
    )
    except_models: list[Text] | None = Field(default=None, description="Do not use it for these model ids.")
    train_only: bool = Field(default=False, description="Use it for training only, never for measuring.")
    language: Language | None = Field(
        default=None,
        description="Language of a text that is not English: it is used for models whose encoders read that "
        "language. A safe one trains only, and so does a borderline one without `english`: the judges of "
        "kept read English.",
    )
    english: Text | None = Field(
        default=None,
        description="What a borderline text in another language says, for judges that read English: with it "
        "the prompt counts in over-refusal. Prompts that say the same are held out together, in whatever "
        "language.",
    )

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came into the format later is written only where it is given: hashes of policies stay."""
        written: dict[str, Any] = write(self)
        return {k: v for k, v in written.items() if k not in ("language", "english") or v is not None}

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_origin(self) -> PromptRef:
        given = [n for n in ("text", "shipped", "path", "hub", "dataset") if getattr(self, n) is not None]
        if len(given) != 1 and given != ["path", "dataset"]:
            raise PydanticCustomError(
                "one_origin",
                "give exactly one of text, shipped, path, hub, dataset (found: {given})",
                {"given": ", ".join(given) or "none"},
            )
        if self.english is not None and (self.language is None or self.text is None):
            raise PydanticCustomError(
                "english_of", "`english` goes with a `text` and the `language` that the text is in"
            )
        if self.anchor is not None and self.text is None:
            raise PydanticCustomError(
                "anchor_of",
                "`anchor` goes with a `text`; `anchor_column` names the column that holds a file's anchors",
            )
        if self.hub is not None and self.file is None:
            raise PydanticCustomError("hub_file", "a hub dataset needs `file`: which file of the repository")
        if self.hub is not None and self.sha256 is None and not _COMMIT.fullmatch(self.revision or ""):
            raise PydanticCustomError(
                "hub_pin",
                "a hub dataset needs `sha256`, or a whole commit (40 hex digits, no branch or tag) as "
                "`revision`, so that tomorrow's run reads the same prompts",
            )
        return self

    def read_in(self, languages: Collection[str]) -> bool:
        """Whether a model whose encoders read ``languages`` beside English is asked for it."""
        return self.language is None or self.language in languages

    @property
    def brings_anchors(self) -> bool:
        """Whether unsafe prompts of this source come with anchors of their own."""
        return bool(self.anchor or self.anchor_column or self.shipped or self.dataset)

    def used_for(self, model: str | None) -> bool:
        """Whether this source counts for a model id. With no model given, only sources that are not limited
        to models count."""
        if self.models is not None and model not in self.models:
            return False
        return not (self.except_models and model in self.except_models)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return or_string(handler, core, "One prompt.")
