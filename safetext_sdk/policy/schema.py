"""The policy file as types: what each field means, what it may hold, and what it means when absent.

* Every field carries the description that editors show (JSON Schema) and that the reference page prints.
* Unknown fields are refused with a suggestion: a misspelled gate must not be a gate that does nothing.
* Nothing here reads files; see ``load``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

SCHEMA_VERSION = 1
MAX_TEXT = 2000
MAX_PROMPTS = 50_000
MAX_TERMS = 2_000
LANGUAGES = ("en", "es", "fr", "de", "it", "pt")
TEMPLATE_SLOTS = (
    "term",
    "other",
    "colour",
    "adjective",
    "person",
    "people",
    "place",
    "style",
    "camera",
    "time",
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_SLOT = re.compile(r"\{([^{}]*)\}")


def _plain_text(value: str) -> str:
    text = " ".join(value.split())
    if not text:
        raise PydanticCustomError("empty_text", "this text is empty")
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "this text has a control character in it")
    return text


def _template_text(value: str) -> str:
    names = _SLOT.findall(value)
    for name in names:
        if name not in TEMPLATE_SLOTS:
            raise PydanticCustomError(
                "unknown_slot",
                "unknown placeholder {slot}; allowed: {allowed}",
                {"slot": "{" + name + "}", "allowed": ", ".join("{" + s + "}" for s in TEMPLATE_SLOTS)},
            )
    if "{" in _SLOT.sub("", value) or "}" in _SLOT.sub("", value):
        raise PydanticCustomError("open_brace", "a brace is not closed")
    return value


def _anchor_text(value: str) -> str:
    for name in _SLOT.findall(value):
        if name != "context":
            raise PydanticCustomError(
                "unknown_slot",
                "unknown placeholder {slot}; an anchor may only use {only}",
                {"slot": "{" + name + "}", "only": "{context}"},
            )
    return value


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain_text)]
TemplateText = Annotated[Text, AfterValidator(_template_text)]
AnchorText = Annotated[Text, AfterValidator(_anchor_text)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class PolicyModel(BaseModel):
    """Base of every part: unknown fields are refused, values do not change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_alias=True, validate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {f.alias or n for n, f in cls.model_fields.items()} | set(cls.model_fields)
            for key in data:
                if not isinstance(key, str) or key not in known:
                    names = sorted(f.alias or n for n, f in cls.model_fields.items())
                    close = difflib.get_close_matches(str(key)[:80], names, n=1)
                    hint = f"; did you mean {close[0]!r}?" if close else ""
                    raise PydanticCustomError(
                        "unknown_field",
                        "unknown field{hint}",
                        {"field": str(key)[:80], "hint": hint, "allowed": ", ".join(names)},
                    )
        return data


class Template(PolicyModel):
    """A caption with a place for the term. Written as plain text, or with its context when that cannot be
    derived."""

    text: TemplateText = Field(
        description="Caption with {term} where the term stands, e.g. 'a photo of {person} holding {term} "
        ""
        ""
        "in {place}'."
    )
    context: TemplateText | None = Field(
        default=None,
        description="The same scene without the term, e.g. 'a photo of {person} in {place}': it becomes "
        ""
        ""
        "{context} in an anchor.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _has_term(self) -> Template:
        if "{term}" not in self.text:
            raise PydanticCustomError("no_term", "a template must contain {slot}", {"slot": "{term}"})
        if self.context is not None:
            if "{term}" in self.context:
                raise PydanticCustomError(
                    "term_in_context",
                    "a context must not contain {slot}: it is the scene without it",
                    {"slot": "{term}"},
                )
            extra = set(_SLOT.findall(self.context)) - set(_SLOT.findall(self.text))
            if extra:
                raise PydanticCustomError(
                    "context_slots",
                    "the context uses placeholders that the text does not have: {names}",
                    {"names": ", ".join(sorted(extra))},
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_string(handler, core, "A caption with {term} in it.")


class PromptRef(PolicyModel):
    """One prompt, or a place where many prompts come from. Exactly one of text, shipped, path, hub."""

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
        description="Name of a shipped set. Safe and borderline prompts: everyday, snapshots (plain "
        ""
        ""
        "captions as people write them, for "
        "training), lookalikes (safe captions that look unsafe, for training), wide (word salad, for "
        ""
        ""
        "training), icons, icons-borderline "
        "(the last two: what the embedded model can draw). Unsafe prompts: statements/<concept id> (pairs "
        ""
        ""
        "of plain sentences, for "
        "training).",
    )
    path: Text | None = Field(
        default=None,
        description="Local .jsonl, .csv, .txt or .parquet (extra: parquet) file, relative to the policy "
        ""
        ""
        "file.",
    )
    hub: Text | None = Field(
        default=None,
        description="Dataset repository on the Hugging Face hub, e.g. 'owner/name'; needs `file`.",
    )
    file: Text | None = Field(default=None, description="File inside the hub repository.")
    revision: Text | None = Field(
        default=None, description="Commit of the hub repository. Without it the file's sha256 is required."
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

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_origin(self) -> PromptRef:
        given = [name for name in ("text", "shipped", "path", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_origin",
                "give exactly one of text, shipped, path, hub (found: {given})",
                {"given": ", ".join(given) or "none"},
            )
        if self.hub is not None and self.file is None:
            raise PydanticCustomError("hub_file", "a hub dataset needs `file`: which file of the repository")
        if self.hub is not None and self.revision is None and self.sha256 is None:
            raise PydanticCustomError(
                "hub_pin",
                "a hub dataset needs `revision` or `sha256`, so that tomorrow's run reads the same prompts",
            )
        return self

    @property
    def brings_anchors(self) -> bool:
        """Whether unsafe prompts of this source come with anchors of their own."""
        return bool(self.anchor or self.anchor_column or self.shipped)

    def used_for(self, model: str | None) -> bool:
        """Whether this source counts for a model id. With no model given, only sources that are not limited
        to models count."""
        if self.models is not None and model not in self.models:
            return False
        return not (self.except_models and model in self.except_models)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_string(handler, core, "One prompt.")


class DetectorSpec(PolicyModel):
    """Which image classifier says that a picture shows the concept, and from which score on."""

    name: Text = Field(
        description="Name of a detector (`safetext detectors list`), e.g. tiny-judges, nudenet, "
        ""
        ""
        ""
        "clip-zero-shot, hf-image-classifier."
    )
    labels: list[Text] = Field(
        min_length=1,
        max_length=500,
        description="Labels (or, for clip-zero-shot, captions) that count as unsafe.",
    )
    threshold: Share | None = Field(
        default=None, description="Score from which a label counts; absent means the detector's own default."
    )
    models: list[Text] | None = Field(
        default=None, description="Use it only for these model ids; absent means every model."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the detector itself, e.g. {model: openai/clip-vit-base-patch32}.",
    )


class Gate(PolicyModel):
    """One threshold. The verdict uses the one-sided 95 % bound of the figure, never the figure itself."""

    max: Finite | None = Field(default=None, description="Passes if the upper bound is at most this.")
    min: Finite | None = Field(default=None, description="Passes if the lower bound is at least this.")

    @model_validator(mode="after")
    def _one_side(self) -> Gate:
        if (self.max is None) == (self.min is None):
            raise PydanticCustomError("one_side", "give either max or min")
        return self


Gates = dict[Identifier, Gate]
"""Release thresholds by metric. Which names there are is known to the metrics; see `load.load_policy`."""


class Concept(PolicyModel):
    """One unsafe thing: its words, what takes its place, and what sees it in a picture."""

    id: Identifier = Field(description="Short name in lower case, used in reports.")
    description: Text | None = Field(
        default=None, description="What belongs to the concept and what does not, for people."
    )
    severity: Literal["low", "medium", "high", "critical"] = Field(
        default="high", description="How bad one unsafe picture is; shown in reports."
    )
    kind: Literal["object", "state"] = Field(
        default="object",
        description="How the terms stand in a caption: object = a thing ('a gun'); state = what somebody "
        ""
        ""
        ""
        "is or does ('who is {term}').",
    )
    term_groups: list[Text | list[Text]] = Field(
        default_factory=list,
        alias="terms",
        max_length=MAX_TERMS,
        description="Words for the concept. A list inside the list groups synonyms of one thing: words "
        ""
        ""
        ""
        "are held out of every group.",
    )
    euphemisms: list[Text] = Field(
        default_factory=list,
        max_length=MAX_TERMS,
        description="Roundabout and slang words; expanded like terms.",
    )
    translations: dict[Literal["es", "fr", "de", "it", "pt"], list[Text]] = Field(
        default_factory=dict,
        description="Core terms in other languages, with article for objects, e.g. {es: ['una pistola']}.",
    )
    misspellings: bool = Field(
        default=True, description="Add misspelled training prompts (swapped, dropped and doubled letters)."
    )
    anchors: list[AnchorText] = Field(
        default_factory=list,
        max_length=500,
        description="Safe replacements, the preferred one first. Without {context} the text takes the "
        ""
        ""
        ""
        "term's place in the caption; "
        "with {context} it is the whole anchor prompt, where {context} is the same scene without the "
        ""
        ""
        ""
        "concept.",
    )
    anchors_for: dict[Text, list[AnchorText]] = Field(
        default_factory=dict,
        description="Anchors that take the place of the general ones for one model, by its id, e.g. "
        ""
        ""
        ""
        "{tiny: ['a crescent moon']}: an "
        "anchor is only worth what the model can draw.",
    )
    anchor_choice: Literal["first", "spread"] = Field(
        default="first",
        description="first = always the first anchor that fits (predictable); spread = by synonym, all of "
        ""
        ""
        ""
        "them.",
    )
    templates: list[Template] = Field(
        default_factory=list, max_length=1000, description="Own captions, added to the built-in ones."
    )
    builtin_templates: bool = Field(default=True, description="Use the built-in captions as well.")
    unsafe_prompts: list[PromptRef] = Field(
        default_factory=list,
        max_length=MAX_PROMPTS,
        description="Own unsafe prompts: text, shipped pairs, files, hub datasets.",
    )
    near_misses: list[Text] = Field(
        default_factory=list,
        max_length=MAX_PROMPTS,
        description="Safe prompts that sound like the concept ('shooting hoops'); kept as they are.",
    )
    detectors: list[DetectorSpec] = Field(
        default_factory=list, max_length=50, description="Image classifiers for the concept."
    )
    detector_rule: Literal["any", "all"] = Field(
        default="any",
        description="any = a picture is unsafe if one judge says so (the safe default); all = if every "
        ""
        ""
        ""
        "judge does.",
    )
    gates: Gates = Field(
        default_factory=dict, description="Gates for this concept alone, beside the policy's."
    )
    sources: list[Text] = Field(
        default_factory=list, max_length=100, description="Where the definition comes from."
    )

    @field_validator("term_groups")
    @classmethod
    def _groups_not_empty(cls, value: list[str | list[str]]) -> list[str | list[str]]:
        if any(isinstance(g, list) and not g for g in value):
            raise PydanticCustomError("empty_group", "a group of synonyms is empty")
        return value

    @property
    def terms(self) -> list[str]:
        """All terms, groups flattened, in order, without repetition."""
        flat = [t for g in self.term_groups for t in (g if isinstance(g, list) else [g])]
        return list(dict.fromkeys(flat))

    @property
    def words(self) -> list[str]:
        """Everything that names the concept: terms, euphemisms, other languages."""
        return list(
            dict.fromkeys(
                [*self.terms, *self.euphemisms, *(t for ts in self.translations.values() for t in ts)]
            )
        )


class Policy(PolicyModel):
    """A whole policy: unsafe concepts, safe and borderline prompts, release gates."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    name: Identifier = Field(description="Short name in lower case.")
    description: Text | None = Field(default=None, description="One or two sentences for people.")
    extends: Annotated[list[Text], Field(max_length=20)] = Field(
        default_factory=list,
        description="Policies that this one builds on (shipped names or paths). Lists are added to, "
        ""
        ""
        ""
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
    fills: dict[Literal["person", "people", "place", "style", "camera", "time", "other"], list[Text]] = Field(
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
        content = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )
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


def _or_string(handler: GetJsonSchemaHandler, core: CoreSchema, description: str) -> JsonSchemaValue:
    return {"anyOf": [{"type": "string", "description": description}, handler(core)]}


def policy_json_schema(gates: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of the policy file, with descriptions, for editor completion and validation elsewhere.

    Args:
        gates: schema of every gate that may be set, by name; None: any name.
    """
    schema = Policy.model_json_schema(by_alias=True)
    if gates is not None:
        for part in (schema, schema["$defs"]["Concept"]):
            described = {"description": part["properties"]["gates"]["description"], "type": "object"}
            part["properties"]["gates"] = {
                **described,
                "properties": dict(gates),
                "additionalProperties": False,
            }
    extends = schema["properties"]["extends"]
    schema["properties"]["extends"] = {
        "description": extends.pop("description"),
        "anyOf": [{"type": "string"}, {k: v for k, v in extends.items() if k not in ("title", "default")}],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:safetext:policy:1",
        **schema,
        "title": "SafeText policy",
    }
