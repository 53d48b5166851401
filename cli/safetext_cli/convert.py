"""safetext convert: a pickle of weights to safetensors, tensors only, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path, typer.Argument(help="Pickle of weights: .pt, .pth, .bin or .ckpt.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Safetensors file; default: beside SOURCE, with that ending."),
    ] = None,
) -> None:
    """Read a pickle's tensors and nothing else, and write them as safetensors."""
    from safetext_sdk.models.convert import convert as run_convert

    typer.echo(run_convert(source, out or source.with_suffix(".safetensors")).text())
