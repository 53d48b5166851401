"""The policy file as JSON Schema."""

from __future__ import annotations

from typing import Any

from .schema import Policy


def policy_json_schema() -> dict[str, Any]:
    """JSON Schema of the policy file, with descriptions, for editor completion and validation elsewhere."""
    schema = Policy.model_json_schema(by_alias=True)
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
