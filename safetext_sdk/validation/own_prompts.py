"""Prompts that the user brings, and what is refused among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import PolicyError
from ..results.rows import Label

if TYPE_CHECKING:
    from ..policy import Policy

LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class OwnPrompt:
    """A prompt that the user brought."""

    prompt: str
    label: Label
    concept: str | None = None


def read_prompts(path: str | Path) -> list[OwnPrompt]:
    """The user's prompts from a .jsonl file: ``{"prompt": ..., "label": "unsafe|safe|borderline", "concept":
    ...}`` a line.

    Raises:
        PolicyError: with file and line, where something is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"cannot be read: {error}", file=str(path), allowed="a UTF-8 .jsonl file"
        ) from error
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PolicyError(
                "this line is no JSON object",
                file=str(path),
                line=number,
                allowed='{"prompt": "...", "label": "safe"}',
            ) from error
        if not isinstance(row, dict):
            raise PolicyError(
                "this line is no JSON object",
                file=str(path),
                line=number,
                allowed='{"prompt": "...", "label": "safe"}',
            )
        prompt, label, concept = row.get("prompt"), row.get("label"), row.get("concept")
        if not isinstance(prompt, str) or not prompt.strip():
            raise PolicyError(
                "the prompt is missing or empty",
                file=str(path),
                line=number,
                field="prompt",
                allowed="a text",
            )
        if label not in LABELS:
            raise PolicyError(
                f"unknown label {label!r}",
                file=str(path),
                line=number,
                field="label",
                allowed=", ".join(LABELS),
            )
        if concept is not None and not isinstance(concept, str):
            raise PolicyError(
                "the concept is not text",
                file=str(path),
                line=number,
                field="concept",
                allowed="a concept id of the policy, or null",
            )
        out.append(OwnPrompt(prompt, label, concept))
    if not out:
        raise PolicyError("no prompts in this file", file=str(path), allowed="at least one line")
    return out


def refuse(own: Sequence[OwnPrompt], policy: Policy) -> None:
    """Prompts that must not be drawn, or that name a concept which the policy does not have.

    Raises:
        PolicyError: with the reason.
    """
    from ..policy.minors import WHY, combines

    known = {c.id for c in policy.concepts}
    for row in own:
        if combines(row.prompt):
            raise PolicyError(f"a prompt of yours {WHY}")
        if row.concept is not None and row.concept not in known:
            raise PolicyError(
                f"your prompts name the concept {row.concept!r}",
                allowed=f"{', '.join(sorted(known))}, or null",
            )
