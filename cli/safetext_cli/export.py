"""safetext export: the hardened encoder as files for the place where it will run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options

DEFAULT = ["diffusers", "onnx"]


def export(
    run: options.Run,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="See `safetext exporters list`; may be given several times."),
    ] = None,
    out: options.Out = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="An option of the target, as name=value (e.g. precision=fp16, contract=optimum)."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Target tensorrt: check what makes an engine build fail; a failed check keeps nothing.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Export a run whose files are not as recorded; the export's record says so."
        ),
    ] = False,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", help="Private key file (PEM): sign the exported folder with model-signing."),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the run's hardened encoders for where they will run, checked against the run's weights."""
    from safetext_exporters import export_each

    chosen = {**options.settings(config), **({"check": True} if check else {})}
    results = []
    for result in export_each(run, target or DEFAULT, out=out, sign=sign, force=force, options=chosen):
        results.append(result)
        if not quiet and not as_json:
            typer.echo(result.text())
    if as_json:
        typer.echo(json.dumps([r.as_dict() for r in results], indent=2, default=str))
    else:
        for result in results:
            typer.echo(f"{result.target}: {result.path}")
