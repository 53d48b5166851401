"""The policy file as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schema import Policy

PROFILE_LINE = {
    "type": "object",
    "description": "The detectors of a judge profile.",
    "properties": {
        "profile": {
            "type": "string",
            "description": "Its name (`safetext profiles list`), e.g. udatk-9@0.45.",
        },
        "models": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Use it only for these model ids; absent means every model.",
        },
        "options": {"type": "object", "description": "Settings of its detector, e.g. {weights: q16.npy}."},
    },
    "required": ["profile"],
    "additionalProperties": False,
}
"""A line of ``detectors:`` that names a profile, which the types never see: it is spelled out before."""


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
    detectors = schema["$defs"]["Concept"]["properties"]["detectors"]
    detectors["items"] = {"anyOf": [detectors["items"], PROFILE_LINE]}
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
