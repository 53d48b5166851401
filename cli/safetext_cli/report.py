"""safetext report: all pages of a report again, from what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def report(
    run: Annotated[Path, typer.Argument(help="Run folder or report folder.", show_default=False)],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            "-p",
            help="The policy file in your repository, for report.sarif to point into; else the run's copy.",
        ),
    ] = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write results.parquet as well: the rows as columns.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write index.html, summary.md, junit.xml, report.sarif and MODEL_CARD.md again; nothing is generated or
    judged."""
    from safetext_sdk.report import rebuild_report

    page = rebuild_report(run, policy, parquet=parquet)
    if not quiet:
        typer.echo(f"report: {page}")
