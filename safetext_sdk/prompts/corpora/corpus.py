"""The one reader of shipped data files, and the words and frames of a grammar."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from ..candidate import Candidate
from ..draws import Draws
from ..splits import digest

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Corpus:
    """One data file. ``source``, ``license``: of the texts; ``written_for``: what they are for."""

    name: str
    source: str
    license: str
    written_for: str
    rows: tuple[dict[str, Any], ...]

    def texts(self, key: str = "text") -> list[str]:
        """One field of every row that has it."""
        return [row[key] for row in self.rows if key in row]

    def word_lists(self) -> dict[str, list[str]]:
        """The rows ``{"list": name, "items": [...]}`` of a grammar."""
        return {row["list"]: row["items"] for row in self.rows if "list" in row}


def corpus_names() -> list[str]:
    """All shipped data files, as `read_corpus` takes them."""
    return sorted(p.relative_to(DATA).with_suffix("").as_posix() for p in DATA.rglob("*.jsonl"))


@cache
def read_corpus(name: str) -> Corpus:
    """One shipped file by its name without ending (``statements/nudity``).

    Raises:
        PolicyError: the file is damaged; names the line.
    """
    file = DATA / f"{name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        head, *rows = json.loads(f"[{','.join(lines)}]")
        return Corpus(name, head["source"], head["license"], head["written_for"], tuple(rows))
    except (ValueError, KeyError):
        raise PolicyError(
            "a shipped file of prompts is damaged: reinstall safetext-sdk", file=str(file), line=_bad(lines)
        ) from None


def _bad(lines: list[str]) -> int:
    """1-based number of the first line that is not a JSON object (1 if all are: then the header is wrong)."""
    for number, line in enumerate(lines, 1):
        try:
            if not isinstance(json.loads(line), dict):
                return number
        except ValueError:
            return number
    return 1


def distinct(
    name: str, frames: list[str], count: int, write: Callable[[str, random.Random], Candidate | None]
) -> list[Candidate]:
    """``count`` candidates with distinct text from a grammar's frames (taken in turn), always the same.

    ``write`` fills a frame with a random generator of its own; None drops the result.
    """
    found: dict[str, Candidate] = {}
    number, draws = 0, Draws()
    while len(found) < count:
        candidate = write(frames[number % len(frames)], draws.at(digest(name, number)))
        number += 1
        if candidate is not None:
            found.setdefault(candidate.text, candidate)
    return list(found.values())
