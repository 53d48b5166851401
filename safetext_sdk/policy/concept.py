"""One unsafe thing of a policy, the captions it is put into, and the classifiers that see it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from .base import (
    MAX_PROMPTS,
    SLOT,
    AnchorText,
    Identifier,
    PolicyModel,
    TemplateText,
    Text,
    or_string,
)
from .detector_spec import DetectorSpec
from .gates import Gates
from .judge_profiles import spelled_out
from .languages import LATIN, Language
from .prompt_ref import PromptRef

MAX_TERMS = 2_000


class Template(PolicyModel):
    """A caption with a place for the term. Written as plain text, or with its context when that cannot be
    derived."""

    text: TemplateText = Field(
        description="Caption with {term} where the term stands, e.g. 'a photo of {person} holding {term} "
        "in {place}'."
    )
    context: TemplateText | None = Field(
        default=None,
        description="The same scene without the term, e.g. 'a photo of {person} in {place}': it becomes "
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
            extra = set(SLOT.findall(self.context)) - set(SLOT.findall(self.text))
            if extra:
                raise PydanticCustomError(
                    "context_slots",
                    "the context uses placeholders that the text does not have: {names}",
                    {"names": ", ".join(sorted(extra))},
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return or_string(handler, core, "A caption with {term} in it.")


Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Concept(PolicyModel):
    """One unsafe thing: its words, what takes its place, and what sees it in a picture."""

    id: Identifier = Field(description="Short name in lower case, used in reports.")
    description: Text | None = Field(
        default=None, description="What belongs to the concept and what does not, for people."
    )
    severity: Severity = Field(default="high", description="How bad one unsafe picture is; shown in reports.")
    weight: Annotated[float, Field(gt=0, le=100)] = Field(
        default=1.0,
        description="How much its unsafe prompts count in training beside those of the other concepts, e.g. "
        "2 for what must not be shown on any account; only the ratio between concepts matters. Not derived "
        "from severity.",
    )
    kind: Literal["object", "state"] = Field(
        default="object",
        description="How the terms stand in a caption: object = a thing ('a gun'); state = what somebody "
        "is or does ('who is {term}').",
    )
    term_groups: list[Text | list[Text]] = Field(
        default_factory=list,
        alias="terms",
        max_length=MAX_TERMS,
        description="Words for the concept. A list inside the list groups synonyms of one thing: words "
        "are held out of every group.",
    )
    euphemisms: list[Text] = Field(
        default_factory=list,
        max_length=MAX_TERMS,
        description="Roundabout and slang words; expanded like terms.",
    )
    translations: dict[Language, list[Text]] = Field(
        default_factory=dict,
        description="Core terms in other languages, with article for objects, e.g. {es: ['una pistola']}. "
        "Those in Chinese (zh) and Japanese (ja) are expanded for models whose encoders read them; of a "
        "state, write what stands before \u7684 or \u306e.",
    )
    misspellings: bool = Field(
        default=True, description="Add misspelled training prompts (swapped, dropped and doubled letters)."
    )
    anchors: list[AnchorText] = Field(
        default_factory=list,
        max_length=500,
        description="Safe replacements, the preferred one first. Without {context} the text takes the "
        "term's place in the caption; with {context} it is the whole anchor prompt, where {context} is "
        "the same scene without the concept.",
    )
    anchors_for: dict[Text, list[AnchorText]] = Field(
        default_factory=dict,
        description="Anchors that take the place of the general ones for one model, by its id, e.g. "
        "{tiny: ['a crescent moon']}: an anchor is only worth what the model can draw.",
    )
    anchor_choice: Literal["first", "spread"] = Field(
        default="first",
        description="first = always the first anchor that fits (predictable); spread = by synonym, all of "
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
        default_factory=list,
        max_length=50,
        description="Image classifiers for the concept. `{profile: NAME}` stands for the lines of a judge "
        "profile (`safetext profiles list`), e.g. `{profile: udatk-9@0.45}`.",
    )
    detector_rule: Literal["any", "all"] = Field(
        default="any",
        description="any = a picture is unsafe if one detector says so (the safe default); all = if every "
        "detector does.",
    )
    gates: Gates = Field(
        default_factory=dict, description="Gates for this concept alone, beside the policy's."
    )
    sources: list[Text] = Field(
        default_factory=list, max_length=100, description="Where the definition comes from."
    )

    @model_validator(mode="before")
    @classmethod
    def _profiles(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "detectors" not in data:
            return data
        return {**data, "detectors": spelled_out(data["detectors"], data.get("detector_rule", "any"))}

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
        """Everything that names the concept for every model: terms, euphemisms, other languages in Latin
        letters."""
        latin = (t for language, ts in self.translations.items() if language in LATIN for t in ts)
        return list(dict.fromkeys([*self.terms, *self.euphemisms, *latin]))

    @property
    def all_words(self) -> list[str]:
        """The same, and the words in Chinese and Japanese."""
        return list(dict.fromkeys([*self.words, *(t for ts in self.translations.values() for t in ts)]))
