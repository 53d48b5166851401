"""What metrics that ask about pictures share: a file of questions by prompt, and the pictures of these
prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import NotMeasuredError
from ..results.rows import Model, ResultRow
from .pictures import Pictures

SETS = ("custom:safe", "safe", "safe_unseen", "borderline")
"""Where pictures of the prompts are looked for; the first set that has some is taken."""


class Question(BaseModel):
    """Base of a line: what a file has beyond its fields is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True)
class QuestionFile:
    """Questions by prompt, and the hash of the file."""

    by_prompt: Mapping[str, tuple[Any, ...]]
    sha256: str

    @classmethod
    def read(cls, path: str, kind: type[Question], prompt_names: Sequence[str]) -> QuestionFile:
        """A JSON list, or one JSON object a line.

        Args:
            kind: of each question.
            prompt_names: what the field of the prompt may be called.

        Raises:
            NotMeasuredError: no such file, or a line that is no such question.
        """
        place = Path(path).expanduser()
        try:
            raw = place.read_bytes()
            text = raw.decode("utf-8")
            lines = json.loads(text) if text.lstrip().startswith("[") else _lines(text)
        except (OSError, ValueError) as error:
            raise NotMeasuredError(f"the questions in {path} cannot be read: {error}") from error
        found: dict[str, list[Question]] = {}
        for number, line in enumerate(lines, 1):
            prompt = next((line[n] for n in prompt_names if isinstance(line, dict) and n in line), None)
            if not isinstance(prompt, str):
                raise NotMeasuredError(f"{path}: question {number} has no {' or '.join(prompt_names)}")
            try:
                found.setdefault(plain(prompt), []).append(kind.model_validate(line))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise NotMeasuredError(f"{path}: question {number}, {where}: {first['msg']}") from error
        if not found:
            raise NotMeasuredError(f"{path} has no question")
        return cls({p: tuple(q) for p, q in found.items()}, hashlib.sha256(raw).hexdigest())

    def of(self, row: ResultRow) -> tuple[Any, ...]:
        """The questions about a picture."""
        return self.by_prompt.get(plain(row.prompt), ())

    def set_of(self, pictures: Pictures) -> str:
        """The set whose pictures are asked about; empty where no prompt has a question."""
        asked = (s for s in SETS if any(map(self.of, pictures.rows(s, "hardened"))))
        return next(asked, "")

    def rows(self, pictures: Pictures, set_: str, model: Model) -> list[ResultRow]:
        """Rows of a set that have questions."""
        return [row for row in pictures.rows(set_, model) if self.of(row)]


def plain(prompt: str) -> str:
    """A prompt as it is looked up."""
    return " ".join(prompt.lower().split()).rstrip(".")


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


NO_PROMPT = "no picture is of a prompt in the file of questions: give the prompts with --prompts FILE"
