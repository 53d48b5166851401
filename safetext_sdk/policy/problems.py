"""Parsed YAML against the schema: the first wrong field, by line, as one PolicyError."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import PolicyError
from .schema import Policy
from .yamltext import Document


def validate(document: Document) -> Policy:
    """Check parsed YAML against the schema; the first wrong field (by line) becomes the PolicyError."""
    if not isinstance(document.data, dict):
        raise PolicyError(
            "a policy is a set of fields", file=document.file, line=1, allowed="version, name, concepts, ..."
        )
    try:
        return Policy.model_validate(document.data, strict=True)
    except ValidationError as error:
        raise _first_error(error.errors(include_url=False), document) from None


def _first_error(errors: list[ErrorDetails], document: Document) -> PolicyError:
    found = []
    for e in errors:
        path = _data_path(e["loc"], document.data)
        context = e.get("ctx") or {}
        if (*path, context.get("field")) in document.lines:
            path = (*path, context["field"])
        elif e["type"] == "missing":
            path = (*path, str(e["loc"][-1]))
        found.append((document.line(path), path, e, context))
    found.sort(key=lambda row: row[0])
    line, path, e, context = found[0]
    allowed = context.get("allowed") if e["type"] == "unknown_field" else _allowed(e, context)
    problem = _message(e)
    more = len({(row[0], row[1]) for row in found}) - 1
    if more:
        problem += f" [and {more} more]"
    return PolicyError(
        problem,
        file=document.file,
        line=line,
        field=".".join(str(p)[:80] for p in path) or None,
        allowed=allowed,
    )


def _data_path(loc: tuple[int | str, ...], data: Any) -> tuple[str | int, ...]:
    """The part of pydantic's location that exists in the data (it also names union branches)."""
    path: list[str | int] = []
    for part in loc:
        inside = (
            part in data
            if isinstance(data, dict)
            else isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            path.append(part)
            data = data[part]
    return tuple(path)


def _message(e: ErrorDetails) -> str:
    if e["type"] == "missing":
        return "this field is required"
    if e["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "should be a set of fields"
    if e["type"] == "string_type":
        return f"should be text, found {_name(e['input'])}"
    if e["type"] == "list_type":
        return f"should be a list, found {_name(e['input'])}"
    return e["msg"].rstrip(".")


def _name(value: Any) -> str:
    if isinstance(value, dict):
        return "a set of fields"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else f"{str(value)[:60]!r}"


def _allowed(e: ErrorDetails, context: dict[str, Any]) -> str | None:
    if e["type"] == "string_type":
        return 'put it in quotes, e.g. "1984"' if isinstance(e["input"], (bool, int, float)) else "text"
    if e["type"] == "list_type":
        return "one item a line, each starting with '- ', or [a, b]"
    if e["type"] == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return (
            "64 lower-case hex digits"
            if "{64}" in pattern
            else "lower-case letters, digits, '-' and '_', up to 64, starting with a letter or digit"
        )
    return str(context["expected"]) if "expected" in context else None
