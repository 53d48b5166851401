"""safetext export: the hardened encoder as files for the place where it will run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options


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
    sign: Annotated[
        Path | None,
        typer.Option("--sign", help="Private key file (PEM): sign the exported folder with model-signing."),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Export the run's encoders; every export carries a parity record against the weights it came from."""
    from safetext_exporters import export as run_export

    chosen = {**options.settings(config), **({"check": True} if check else {})}
    names = list(dict.fromkeys(target or ["diffusers", "onnx"]))
    results = []
    for name in names:
        # Several targets under one --out get a folder each: the second must not replace the first.
        place = out / name if out is not None and len(names) > 1 else out
        result = run_export(run, name, out=place, **chosen)
        if sign is not None:
            from safetext_exporters.signing import sign_folder

            sign_folder(result.path, sign)
        results.append(result)
        if not quiet and not as_json:
            typer.echo(result.text())
    if as_json:
        typer.echo(json.dumps([r.as_dict() for r in results], indent=2, default=str))
    else:
        for name, result in zip(names, results, strict=True):
            typer.echo(f"{name}: {result.path}")
