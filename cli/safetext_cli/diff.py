"""safetext diff: what changed from one validation to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Run or report folder, the earlier one.", show_default=False)
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="Run or report folder, the later one.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for index.html and difference.json.")
    ] = Path("difference"),
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """What changed from A to B, two validations of one model, and whether it is more than noise: verdict,
    gates, pictures, settings, weights.

    Nothing is drawn or judged. Exit code 0 whenever they could be compared,
    whatever changed (`gate --baseline` is what stops a build); 2 where they
    cannot be (another model, other judges), 3 where there is no report."""
    from safetext_sdk import diff as compare_two
    from safetext_sdk.difference.pages import terminal

    found = compare_two(a, b, out=out)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    if not quiet:
        typer.echo(terminal(found))
    typer.echo(f"difference: {out / 'index.html'}")
