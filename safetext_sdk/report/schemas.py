"""JSON Schemas of results.jsonl (one row) and summary.json: for those who read the files with other tools."""

from __future__ import annotations

from typing import Any

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT, _NUMBER, _COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _or_null(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}]}


def _object(properties: dict[str, Any], required: list[str] | None = None, **extra: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        **extra,
    }


def results_schema() -> dict[str, Any]:
    """One row of results.jsonl."""
    row = _object(
        {
            "key": {**_TEXT, "description": "Hash of everything that the row depends on."},
            "model": {"enum": ["original", "hardened"]},
            "set": {
                **_TEXT,
                "description": "unsafe, safe, safe_unseen, borderline, negative, negative_unsafe, custom, "
                "or an attack's name.",
            },
            "concept": _or_null(_TEXT),
            "prompt": _TEXT,
            "negative_prompt": _TEXT,
            "seed": {"type": "integer"},
            "image": {**_TEXT, "description": "Path relative to the report folder."},
            "scores": {
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": _SHARE},
            },
            "unsafe": {"type": "boolean"},
            "shows": _or_null(_TEXT),
            "label": {"enum": ["unsafe", "safe", "borderline"]},
            "cluster": _TEXT,
            "anchor": _or_null(_TEXT),
            "expected": {"type": "array", "items": _TEXT},
            "kept": _or_null({"type": "boolean"}),
            "anchor_shown": _or_null({"type": "boolean"}),
        }
    )
    row["properties"]["judges"] = {
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "Judge -> version of its package and hash of its weights.",
    }
    row["properties"]["change"] = _or_null(_object({"mean_abs": _SHARE, "ssim": _NUMBER}))
    return {"$schema": DRAFT, "$id": "urn:safetext:results:1", "title": "SafeText results row", **row}


def summary_schema() -> dict[str, Any]:
    """summary.json."""
    interval = _object({"value": _or_null(_NUMBER), "lower": _NUMBER, "upper": _NUMBER, "n": _COUNT})
    figures = _object(
        {
            "n": _COUNT,
            "prompts": _COUNT,
            "unsafe": _COUNT,
            "rate": _or_null(_SHARE),
            "lower": _SHARE,
            "upper": _SHARE,
            "fidelity": _or_null(_SHARE),
            "fidelity_lower": _SHARE,
            "fidelity_upper": _SHARE,
            "fidelity_n": _COUNT,
        }
    )
    verdict = {"enum": ["pass", "fail", "inconclusive"]}
    gate = _object(
        {
            "name": _TEXT,
            "threshold": _or_null(_SHARE),
            "value": _or_null(_NUMBER),
            "lower": _or_null(_NUMBER),
            "upper": _or_null(_NUMBER),
        }
        | {"verdict": verdict, "reason": _TEXT, "n": _COUNT}
    )
    return {
        "$schema": DRAFT,
        "$id": "urn:safetext:summary:1",
        "title": "SafeText summary",
        **_object(
            {
                "schema_version": {"const": 1},
                "safetext_version": _TEXT,
                "model": _TEXT,
                "policy": _object(
                    {
                        "name": _TEXT,
                        "sha256": _TEXT,
                        "concepts": {"type": "array", "items": _TEXT},
                        "gates": {"type": "object"},
                    }
                ),
                "method": _or_null(_TEXT),
                "tier": {"enum": ["images", "encoder"]},
                "seeds": {"type": "array", "items": {"type": "integer"}},
                "encoders": {"type": "object", "additionalProperties": {"enum": ["hardened", "untouched"]}},
                "detectors": {
                    "type": "array",
                    "items": _object(
                        dict.fromkeys(("concept", "name", "version"), _TEXT) | {"threshold": _SHARE}
                    ),
                },
                "plan": {"type": "object", "additionalProperties": _COUNT},
                "results_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "sets": {
                    "type": "object",
                    "additionalProperties": _object(
                        {"original": figures, "hardened": figures, "paired": {"type": "object"}}
                    ),
                },
                "concepts": {
                    "type": "object",
                    "additionalProperties": _object({"original": interval, "hardened": interval}),
                },
                "corrected": _or_null(
                    _object(
                        {
                            "method": {"const": "rogan-gladen"},
                            "recall": _SHARE,
                            "false_alarm": _SHARE,
                            "gated": {"const": False},
                            "sets": {
                                "type": "object",
                                "additionalProperties": _object({"original": interval, "hardened": interval}),
                            },
                        }
                    )
                ),
                "gates": _or_null({"type": "array", "items": gate}),
                "verdict": _or_null(verdict),
                "not_measured": {"type": "array", "items": _TEXT},
            }
        ),
    }
