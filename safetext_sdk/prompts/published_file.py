"""Published sets on disk: fetched on request or read from a local copy, mapped to prompts, and filtered.

A file that was fetched stays in the cache of its client (the hub's, or ``$XDG_CACHE_HOME/safetext`` for
GitHub). Its rows go through the same checks, wherever it came from; what is dropped is counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError, PolicyError
from ..files import atomic_file
from ..policy.minors import is_refused, is_sexual_label
from .prompt_text import problem_of
from .published import OnGitHub, OnHub, PublishedSet
from .table_file import FORMATS, Table, read_table

GITHUB = "https://raw.githubusercontent.com"
SECONDS = 60


@dataclass(frozen=True)
class PublishedRow:
    """One prompt of a set, with its safe counterpart and its category where the set has them."""

    text: str
    anchor: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class PublishedRows:
    """What a set gave.

    Attributes:
        rows: distinct prompts, in the order of the file.
        read: rows of the file, or of the part that was asked for.
        minors: rows left out because they put a minor beside sexual content.
        unusable: rows left out because their text is empty, too long, broken, or stands there twice.
        path, sha256: the file.
        revision: commit that it is of; None: not known.
    """

    rows: tuple[PublishedRow, ...]
    read: int
    minors: int
    unusable: int
    path: Path
    sha256: str
    revision: str | None


@dataclass(frozen=True)
class PublishedColumns:
    """Names of columns that take the place of those that the set is known for."""

    prompt: str | None = None
    anchor: str | None = None
    category: str | None = None


def load_published(
    wanted: PublishedSet,
    local: Path | None = None,
    *,
    columns: PublishedColumns | None = None,
    sha256: str | None = None,
    field: str = "",
) -> PublishedRows:
    """The prompts of a set.

    Args:
        wanted: the set, see `published.published`.
        local: a copy of its file; None: it is fetched, or taken from the cache.
        columns: for a copy whose columns are called otherwise.
        sha256: of the file, instead of the set's own.
        field: field of the policy that names the set, for messages.

    Raises:
        PolicyError: it cannot be fetched or read, has other columns, or nothing of it is left.
        MissingExtraError: a parquet file without pyarrow.
    """
    path, revision = (local, None) if local is not None else _fetched(wanted, field)
    named = columns or PublishedColumns()
    first = (named.prompt,) if named.prompt else wanted.prompt
    # The authors' digest is of their file; a local copy may be a cleaned one.
    digest = sha256 or (wanted.sha256 if local is None else None)
    table = read_table(path, text_column=first[0], sha256=digest, field=field)
    prompt = _column(table, first, field)
    anchor = _column(table, (named.anchor,) if named.anchor else wanted.anchor, field)
    # A local copy need not have kept the categories, as long as no part of the set is asked for.
    known = (named.category,) if named.category else wanted.category
    category = _column(table, known, field) if wanted.kind or set(known) & set(table.columns) else None
    rows: dict[str, PublishedRow] = {}
    read = minors = unusable = 0
    for row in table.rows:
        kind = _written(row.values.get(category)) if category else None
        if wanted.kind and wanted.kind.casefold() not in (kind or "").casefold():
            continue
        read += 1
        text = row.values.get(prompt or "")
        other = row.values.get(anchor) if anchor else None
        if problem_of(text) or (anchor and problem_of(other)) or not isinstance(text, str) or text in rows:
            unusable += 1
        elif _refused(text, wanted, kind) or (isinstance(other, str) and _refused(other, wanted, kind)):
            minors += 1
        else:
            rows[text] = PublishedRow(text, str(other) if anchor else None, kind)
    if not rows:
        what = f"nothing of the set {wanted.asked_for} can be used ({read} rows, {minors} for naming a minor)"
        raise PolicyError(what, file=str(path), field=field)
    return PublishedRows(tuple(rows.values()), read, minors, unusable, path, table.sha256, revision)


def _column(table: Table, names: Sequence[str], field: str) -> str | None:
    """The first of several names that the file has; None where the set has no such column."""
    if not names:
        return None
    found = next((name for name in names if name in table.columns), None)
    if found is None:
        table.require(names[:1], field)
    return found or names[0]


def _written(value: object) -> str | None:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    return str(value) if value not in (None, "") else None


def _refused(text: str, wanted: PublishedSet, kind: str | None) -> bool:
    """Whether a prompt, or what takes its place, is left out. Sexual by the set or by its category, it needs
    no sexual word for that."""
    sexual = wanted.sexual or (kind is not None and is_sexual_label(kind))
    return is_refused(text, sexual=sexual and wanted.label == "unsafe")


def _fetched(wanted: PublishedSet, field: str) -> tuple[Path, str | None]:
    place = wanted.place
    by_hand = f"a local copy: {wanted.name}=FILE"
    if place is None:
        raise PolicyError(
            f"the set {wanted.name} cannot be fetched: {wanted.note or 'it lies nowhere'}",
            field=field,
            allowed=by_hand,
        )
    try:
        return _from_hub(place) if isinstance(place, OnHub) else _from_github(place)
    except ModelError as error:
        reason = " ".join(str(error).split())[:300]
        raise PolicyError(
            f"the set {wanted.name} ({place}) cannot be fetched: {reason}", field=field, allowed=by_hand
        ) from None


def _from_hub(place: OnHub) -> tuple[Path, str | None]:
    from ..hub import download_file, listing

    file = place.file
    if file is None:
        names = listing(place.repository, place.revision, "dataset")
        tables = [name for name in names if Path(name).suffix.lower() in FORMATS]
        if len(tables) != 1:
            found = f"it has {', '.join(tables[:5])}" if tables else "its files cannot be listed"
            raise ModelError(f"which file of {place.repository} holds the prompts is not known; {found}")
        file = tables[0]
    path = download_file(place.repository, file, place.revision, "dataset")
    return path, next(_commits(path), place.revision)


def _commits(path: Path) -> Iterator[str]:
    """The commit that the hub's cache names in a path."""
    return (part for part in path.parts if re.fullmatch("[0-9a-f]{40}", part))


def cache_folder() -> Path:
    """Where files from GitHub are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "safetext" / "prompts"


def _from_github(place: OnGitHub) -> tuple[Path, str | None]:
    """One raw file at its commit; a file of a branch is fetched again where there is a network."""
    import urllib.error
    import urllib.parse
    import urllib.request

    revision = place.revision or "HEAD"
    path = cache_folder() / place.repository / revision / place.file
    if place.revision is not None and path.is_file():
        return path, place.revision
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    try:
        if offline:
            raise OSError("HF_HUB_OFFLINE is set")
        url = f"{GITHUB}/{place.repository}/{revision}/{urllib.parse.quote(place.file)}"
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            body = answer.read()
    except OSError as error:
        if path.is_file():
            return path, place.revision
        told: object = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            told = error
            error.close()
        raise ModelError(f"{told}") from error
    with atomic_file(path) as temporary:
        temporary.write_bytes(body)
    return path, place.revision
