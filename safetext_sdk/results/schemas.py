"""JSON Schemas of results.jsonl (one row) and summary.json, generated from the types that write the files."""

from __future__ import annotations

from typing import Any

from .record import SCHEMA_VERSION, Record
from .rows import ResultRow
from .summary import Summary

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _published(record: type[Record], name: str, title: str) -> dict[str, Any]:
    schema = record.model_json_schema(mode="serialization")
    return {"$schema": DRAFT, "$id": f"urn:safetext:{name}:{SCHEMA_VERSION}", **schema, "title": title}


def results_schema() -> dict[str, Any]:
    """One row of results.jsonl."""
    return _published(ResultRow, "results", "SafeText results row")


def summary_schema() -> dict[str, Any]:
    """summary.json."""
    return _published(Summary, "summary", "SafeText summary")
