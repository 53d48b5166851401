"""safetext verify: are these the files that were tested, and is the safe encoder really loaded?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options


def verify(
    target: Annotated[
        Path,
        typer.Argument(
            help="Run, exported folder, ONNX file, diffusers folder or single-file checkpoint.",
            show_default=False,
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", help="Run folder: ask canary prompts whether TARGET holds its hardened encoder."
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            help="Also check the signatures of the folder, its reports and its exports with this key (PEM).",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Are the files as they were recorded; with --against, is the hardened encoder the one that TARGET holds?

    Exit 0: untouched (with --against: hardened). Exit 1: changed, original, neither or partly. Exit 3: could
    not tell."""
    from safetext_sdk.verification.file_checks import verify_files
    from safetext_sdk.verification.identify import verify_against

    result = verify_against(against, target) if against is not None else verify_files(target)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        typer.echo(result.text())
    if public_key is not None:
        from safetext_exporters.signing import check_signatures

        for signed in check_signatures(target, public_key):
            if not as_json:
                typer.echo(f"signature: holds with {public_key} ({signed})")
    raise typer.Exit(result.exit_code)
