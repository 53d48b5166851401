"""safetext doctor: would a real run work here?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import options

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Also: can this model be loaded and hardened here?")
    ] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder where runs would go.")] = ".",
    as_json: options.AsJson = False,
) -> None:
    """Check this machine with the very resolvers that a run uses. Exit 3 if something would stop a run."""
    from safetext_sdk.diagnostics import doctor as examine

    rows = examine.examine(model, out)
    if as_json:
        typer.echo(json.dumps(examine.as_dicts(rows), indent=2))
    else:
        for row in rows:
            typer.secho(f"{row.state:8}", fg=_COLOURS[row.state], nl=False)
            typer.echo(f"{row.name}: {row.found}")
            if row.mend:
                typer.echo(f"        -> {row.mend}")
    raise typer.Exit(3 if any(r.state == "problem" for r in rows) else 0)
