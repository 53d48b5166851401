"""A readable sample of a split: the same seed shows the same prompts."""

from __future__ import annotations

from .prompt_book import KINDS, Split
from .splits import by_hash


def sample_rows(split: Split, count: int | None, seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """Up to ``count`` prompts of each kind (None = all, in book order), as plain rows.

    Returns:
        kind -> rows with text, and anchor, concept, synonym, template for unsafe ones or group and source for
        safe ones.
    """
    out: dict[str, list[dict[str, str]]] = {}
    for kind in KINDS:
        rows = [{k: str(v) for k, v in vars(p).items()} for p in getattr(split, kind)]
        if count is not None:
            by_text = {r["text"]: r for r in rows}
            rows = [by_text[t] for t in by_hash(by_text, seed, "show")[:count]]
        out[kind] = rows
    return out
