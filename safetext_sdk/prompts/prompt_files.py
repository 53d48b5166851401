"""Prompt files that a policy names: local or on the hub, or published sets that may be trained on, with named
columns and a checked SHA-256."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ModelError, PolicyError, PromptFileWarning
from ..policy.base import MAX_TEXT
from ..policy.prompt_ref import PromptRef
from .prompt_text import damage_of
from .table_file import read_table


@dataclass(frozen=True)
class FileRow:
    """One prompt of a file. Texts longer than the limit of the format are cut, white space is made plain."""

    text: str
    anchor: str | None = None
    group: str | None = None


def read_rows(ref: PromptRef, field: str = "", *, sexual: bool = False) -> list[FileRow]:
    """The prompts of a ``path``, ``hub`` or ``dataset`` reference, in the order of the file; empty ones are
    left out.

    ``sexual``: whether they stand for sexual content. Of a published set, what names a minor is left out
    then; of other files nothing is, and whoever reads them refuses it.

    Raises:
        PolicyError: file missing, changed, of another format, or without the named column; a prompt with a
            character that no text has; a published set that nobody may train on.
        MissingExtraError: a parquet file without pyarrow.
    """
    if ref.dataset is not None:
        return _published(ref, field, sexual)
    path = Path(ref.path) if ref.path else _fetch(ref, field)
    table = read_table(path, text_column=ref.column, sha256=ref.sha256, field=field)
    table.require([c for c in (ref.column, ref.anchor_column, ref.group_column) if c], field)
    out = []
    for row in table.rows:
        text, anchor, group = (
            _plain(row.values.get(column) if column else None)
            for column in (ref.column, ref.anchor_column, ref.group_column)
        )
        for column, value in ((ref.column, text), (ref.anchor_column, anchor)):
            if problem := damage_of(value or ""):
                raise PolicyError(problem, file=str(path), line=row.line, field=f"{field}, column {column}")
        if text:
            out.append(FileRow(text, anchor, group))
    if not out:
        raise PolicyError("the file has no prompts", file=str(path), field=field)
    return out


def _plain(value: object) -> str | None:
    return " ".join(str(value).split())[:MAX_TEXT] or None if value is not None else None


def _published(ref: PromptRef, field: str, sexual: bool) -> list[FileRow]:
    """Rows of a published set that its licence and its place in the field let anybody train on."""
    from .published import for_training
    from .published_file import PublishedColumns, load_published

    wanted = for_training(str(ref.dataset), field)
    wanted = replace(wanted, sexual=wanted.sexual or sexual)
    named = ref.column if "column" in ref.model_fields_set else None
    loaded = load_published(
        wanted,
        Path(ref.path) if ref.path else None,
        columns=PublishedColumns(named, ref.anchor_column, ref.group_column),
        sha256=ref.sha256,
        field=field,
    )
    if loaded.revision is None and ref.sha256 is None:
        raise PolicyError(
            f"no commit of the set {wanted.name} is known; say which content is meant: "
            f"sha256: {loaded.sha256}",
            field=field,
            allowed="sha256, or a local copy by `path`",
        )
    warnings.warn(
        PromptFileWarning(
            f"{field}: {len(loaded.rows)} pairs of {wanted.asked_for} ({wanted.source}; licence "
            f"{wanted.licence or 'not known'}); {loaded.minors} left out for naming a minor, "
            f"{loaded.unusable} as empty, too long or repeated"
        ),
        stacklevel=2,
    )
    grouped = ref.group_column is not None
    return [
        FileRow(str(_plain(row.text)), _plain(row.anchor), row.category if grouped else None)
        for row in loaded.rows
    ]


def _fetch(ref: PromptRef, field: str) -> Path:
    """One file of a hub dataset, from the local cache or the network."""
    from ..hub import download_file

    try:
        return download_file(str(ref.hub), str(ref.file), ref.revision, "dataset")
    except ModelError as error:
        reason = " ".join(str(error).split())[:200]
        raise PolicyError(
            f"the hub file {ref.hub}/{ref.file} cannot be fetched: {reason}",
            field=field,
            allowed="a local copy by `path`",
        ) from None
