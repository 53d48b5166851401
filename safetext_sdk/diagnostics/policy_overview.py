"""What a policy expands to, before anything is trained: counts of every split, and prompts to read."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..models.languages import languages_of
from ..policy.load import load_policy, shipped_policies
from ..policy.schema import Policy
from ..prompts.build import build_prompt_book
from ..prompts.prompt_book import KINDS
from ..prompts.sample import sample_rows
from ..prompts.splits import SPLITS

_COLUMNS = ("unsafe", "synonyms", "templates", "safe", "safe_unseen", "borderline")
_SHOWN_ANCHORS = 3
_WIDEST = 120


@dataclass(frozen=True)
class Overview:
    """A policy, the size of its splits, and a sample of one split.

    Attributes:
        counts: split -> figure -> number.
        split: which one ``sample`` is of.
        sample: kind of prompt -> rows.
    """

    policy: Policy
    counts: dict[str, dict[str, int]]
    split: str
    sample: dict[str, list[dict[str, str]]]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        concepts = [
            {"id": c.id, "severity": c.severity, "terms": c.terms, "anchors": c.anchors}
            for c in self.policy.concepts
        ]
        return {
            "name": self.policy.name,
            "sha256": self.policy.sha256,
            "concepts": concepts,
            "counts": self.counts,
            "split": self.split,
            "sample": self.sample,
        }

    def lines(self) -> list[str]:
        """For people; a prompt stays on one line, whatever its length."""
        out = [f"{self.policy.name}  sha256 {self.policy.sha256[:16]}"]
        out += wrapped(self.policy.description or "")
        for concept in self.policy.concepts:
            anchors = "; ".join(concept.anchors[:_SHOWN_ANCHORS])
            head = f"{concept.id} ({concept.severity}): {len(concept.words)} words"
            out += wrapped(f"{head}; anchors: {anchors}", "    ")
        out += ["", f"{'':10}" + "".join(f"{c:>{len(c) + 2}}" for c in _COLUMNS)]
        for name, counts in self.counts.items():
            out.append(f"{name:10}" + "".join(f"{counts[c]:>{len(c) + 2}}" for c in _COLUMNS))
        for kind in KINDS:
            if self.sample[kind]:
                out += ["", f"{self.split}, {kind}:"]
            for row in self.sample[kind]:
                out.append(f"  {row['text']}")
                if anchor := row.get("anchor"):
                    out.append(f"    -> {anchor}")
        return out


def overview(
    policy: Policy,
    *,
    split: str = "train",
    count: int | None = 5,
    size: int | None = None,
    model: str | None = None,
    seed: int = 0,
) -> Overview:
    """Expand a policy and take a sample.

    Args:
        split, count: how many prompts of each kind of which split; None means all of them.
        size, model, seed: as for `build_prompt_book`.

    Raises:
        UsageError: no such split.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r} (allowed: {', '.join(SPLITS)})")
    book = build_prompt_book(policy, seed=seed, model=model, size=size, languages=languages_of(model))
    return Overview(policy, book.counts(), split, sample_rows(book.split(split), count, seed))


def shipped_rows() -> list[dict[str, Any]]:
    """The shipped policies: name, description, concepts and file."""
    rows = []
    for name, path in shipped_policies().items():
        policy = load_policy(name)
        concepts = [c.id for c in policy.concepts]
        rows.append(
            {"name": name, "description": policy.description, "concepts": concepts, "path": str(path)}
        )
    return rows


def wrapped(text: str, indent: str = "") -> list[str]:
    """Text in lines as wide as the terminal, at most 120 columns; lines after the first are indented."""
    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    return textwrap.wrap(
        text, max(40, width - 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]
