"""safetext cache: the undefended models' pictures that all runs of this user share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from . import options

if TYPE_CHECKING:
    from safetext_sdk.validation.picture_cache import PictureCache

app = typer.Typer(
    help="Pictures of undefended models that all runs share: drawn once, checked by their hash.",
    no_args_is_help=True,
)
Folder = Annotated[
    str | None,
    typer.Option("--cache", help="This folder instead of the user's own.", show_default=False),
]


@app.command("show")
def show(cache: Folder = None, as_json: options.AsJson = False) -> None:
    """Where the pictures lie, how many there are, and how much room they take."""
    found = _cache(cache)
    usage = found.usage()
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "folder": str(found.folder),
                    "pictures": usage.pictures,
                    "bytes": usage.size,
                    "limit_bytes": found.limit,
                },
                indent=2,
            )
        )
        return
    typer.echo(
        f"{found.folder}: {usage.pictures} pictures, {_readable(usage.size)} of {_readable(found.limit)}"
    )


@app.command("clear")
def clear(cache: Folder = None) -> None:
    """Remove these pictures; reports have copies of their own."""
    removed = _cache(cache).clear()
    typer.echo(f"removed {removed.pictures} pictures, {_readable(removed.size)}")


def _cache(given: str | None) -> PictureCache:
    from safetext_sdk.errors import UsageError
    from safetext_sdk.validation.picture_cache import FOLDER, PictureCache

    folder = options.picture_cache(given)
    if folder is None:
        raise UsageError(f"the cache is off ({FOLDER}=off, or --cache off)")
    return PictureCache(folder)


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
