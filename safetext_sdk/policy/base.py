"""What all parts of a policy share: checked texts, and a base class that refuses unknown fields."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

MAX_TEXT = 2000
MAX_PROMPTS = 50_000
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
SLOT = re.compile(r"\{([^{}]*)\}")


def _plain_text(value: str) -> str:
    text = " ".join(value.split())
    if not text:
        raise PydanticCustomError("empty_text", "this text is empty")
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "this text has a control character in it")
    return text


def _template_text(value: str) -> str:
    names = SLOT.findall(value)
    for name in names:
        if name not in TEMPLATE_SLOTS:
            raise PydanticCustomError(
                "unknown_slot",
                "unknown placeholder {slot}; allowed: {allowed}",
                {"slot": "{" + name + "}", "allowed": ", ".join("{" + s + "}" for s in TEMPLATE_SLOTS)},
            )
    if "{" in SLOT.sub("", value) or "}" in SLOT.sub("", value):
        raise PydanticCustomError("open_brace", "a brace is not closed")
    return value


def _anchor_text(value: str) -> str:
    for name in SLOT.findall(value):
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


def or_string(handler: GetJsonSchemaHandler, core: CoreSchema, description: str) -> JsonSchemaValue:
    """JSON Schema of a part that may also be written as one plain string."""
    return {"anyOf": [{"type": "string", "description": description}, handler(core)]}
