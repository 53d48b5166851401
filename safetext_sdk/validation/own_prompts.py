"""Prompts that the user brings, from a file or a published set, and what is refused among them.

A file of the user's own is read strictly: a row that cannot be used stops the call with its line, because
whoever wrote it meant something. Rows of a published set that cannot be used are left out and counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import PolicyError, PromptFileWarning, UsageError
from ..policy.base import MAX_TEXT
from ..prompts.prompt_text import problem_of
from ..prompts.published import PUBLISHED, published
from ..prompts.published_file import PublishedColumns, load_published
from ..prompts.table_file import Table, TableRow, read_table
from ..results.prompts_entry import PromptsEntry
from ..results.rows import Label

if TYPE_CHECKING:
    from ..policy import Policy

LABELS: tuple[Label, ...] = get_args(Label)
FIELDS = ("prompt", "label", "concept")


@dataclass(frozen=True)
class OwnPrompt:
    """A prompt that the user brought."""

    prompt: str
    label: Label
    concept: str | None = None


@dataclass(frozen=True)
class PromptFile:
    """Where the user's prompts lie, and how to read them.

    Attributes:
        source: a file (.jsonl, .json, .csv, .txt, .parquet), the name of a published set
            (``safetext prompts list``), a part of one (``i2p/sexual``), or a set with a local copy of its
            file (``i2p=copy.csv``). A path that exists comes before a name.
        columns: prompt, label, concept: the columns that hold them, where they are called otherwise.
        label: of prompts that have none in the file; None: every row must have one.
    """

    source: str | Path
    columns: Mapping[str, str] | None = None
    label: Label | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.columns or {}) - set(FIELDS)):
            raise UsageError(f"prompts have no {unknown[0]!r}; a column can be named for {', '.join(FIELDS)}")
        if self.label is not None and self.label not in LABELS:
            raise UsageError(f"unknown label {self.label!r} (labels: {', '.join(LABELS)})")

    def column(self, name: str) -> str:
        """What the column of a field is called in the file."""
        return (self.columns or {}).get(name, name)


@dataclass(frozen=True)
class OwnPrompts:
    """The prompts, and what is recorded of where they came from."""

    prompts: tuple[OwnPrompt, ...]
    entry: PromptsEntry


def load_prompts(given: PromptFile | str | Path) -> OwnPrompts:
    """The user's prompts.

    Raises:
        PolicyError: with file and line, where something is wrong; nothing is fetched or left to use.
        UsageError: no file and no published set of that name.
        MissingExtraError: a parquet file without pyarrow.
    """
    file = given if isinstance(given, PromptFile) else PromptFile(given)
    name, _, local = str(file.source).partition("=")
    if Path(file.source).exists() or not _is_set(name):
        return _from_file(file)
    return _from_set(file, name, Path(local) if local else None)


def read_prompts(path: str | Path) -> list[OwnPrompt]:
    """The prompts alone; see `load_prompts`."""
    return list(load_prompts(path).prompts)


def _is_set(name: str) -> bool:
    """Whether a name can only mean a published set: a path has a suffix, and a folder stands before it."""
    return name.partition("/")[0] in PUBLISHED or not (Path(name).suffix or "/" in name or "\\" in name)


def _from_file(file: PromptFile) -> OwnPrompts:
    path = Path(file.source)
    table = read_table(path, text_column=file.column("prompt"))
    table.require([file.column("prompt"), *(file.columns or {}).values()])
    rows = [_own(row, file, table) for row in table.rows]
    if not rows:
        raise PolicyError("no prompts in this file", file=str(path), allowed="at least one line")
    unused = [name for name in table.columns if name not in {file.column(field) for field in FIELDS}]
    if unused:
        named = ", ".join(unused[:10]) + (", ..." if len(unused) > 10 else "")
        warnings.warn(PromptFileWarning(f"{path}: nothing is read from {named}"), stacklevel=3)
    distinct = tuple(dict.fromkeys(rows))
    return OwnPrompts(
        distinct, PromptsEntry(source=path.name, sha256=table.sha256, read=len(rows), used=len(distinct))
    )


def _own(row: TableRow, file: PromptFile, table: Table) -> OwnPrompt:
    def wrong(problem: str, field: str, allowed: str) -> PolicyError:
        return PolicyError(problem, file=str(table.path), line=row.line, field=field, allowed=allowed)

    prompt, label, concept = (row.values.get(file.column(name)) for name in FIELDS)
    if problem := problem_of(prompt):
        raise wrong(problem, file.column("prompt"), f"a text of at most {MAX_TEXT:,} characters")
    label = file.label if label in (None, "") else label
    if label is None:
        raise wrong("the prompt has no label", file.column("label"), f"{', '.join(LABELS)}, or one for all")
    if label not in LABELS:
        raise wrong(f"unknown label {label!r}", file.column("label"), ", ".join(LABELS))
    if concept is not None and not isinstance(concept, str):
        raise wrong("the concept is not text", file.column("concept"), "a concept id of the policy, or null")
    return OwnPrompt(str(prompt), label, concept or None)


def _from_set(file: PromptFile, name: str, local: Path | None) -> OwnPrompts:
    wanted = published(name)
    columns = PublishedColumns(prompt=(file.columns or {}).get("prompt"))
    found = load_published(wanted, local, columns=columns)
    label = file.label or wanted.label
    entry = PromptsEntry(
        source=wanted.asked_for,
        sha256=found.sha256,
        place=str(local.name if local is not None else wanted.place),
        revision=found.revision,
        licence=wanted.licence,
        read=found.read,
        used=len(found.rows),
        minors=found.minors,
        unusable=found.unusable,
    )
    return OwnPrompts(tuple(OwnPrompt(row.text, label) for row in found.rows), entry)


def refuse(own: Sequence[OwnPrompt], policy: Policy) -> None:
    """Prompts that must not be drawn, or that name a concept which the policy does not have.

    Raises:
        PolicyError: with the reason.
    """
    from ..policy.minors import WHY, is_refused, is_sexual

    known = {c.id for c in policy.concepts}
    sexual = {c.id for c in policy.concepts if is_sexual(c)}
    for row in own:
        if is_refused(row.prompt, sexual=row.label == "unsafe" and row.concept in sexual):
            raise PolicyError(f"a prompt of yours {WHY}")
        if row.concept is not None and row.concept not in known:
            raise PolicyError(
                f"your prompts name the concept {row.concept!r}",
                allowed=f"{', '.join(sorted(known))}, or null",
            )
