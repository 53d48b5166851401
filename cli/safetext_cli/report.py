"""safetext report: all pages of a report again, from what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder or report folder (RUN/attack-report, audits/NAME).", show_default=False
        ),
    ],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            "-p",
            help="The policy file in your repository, for report.sarif to point into; else the run's copy.",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            help="Show the same pictures under this judge profile as well (`safetext profiles list`, or a "
            "YAML file); repeatable. Nothing is drawn again.",
        ),
    ] = None,
    device: options.Device = "auto",
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write results.parquet as well: the rows as columns.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write index.html, summary.md, junit.xml, report.sarif and MODEL_CARD.md again (of attacks alone the
    first two); nothing is generated, and no gate judges again."""
    import safetext_sdk as st
    from safetext_sdk.report import rebuild_report

    if profile:
        from safetext_sdk.report.profile_cells import profiles_text
        from safetext_sdk.results.evidence_file import signature_of

        found = st.Report.load(run)
        typer.echo(profiles_text(st.rejudge(found, profile, device=device)))
        if signature_of(found.folder) == "signed":
            typer.echo("the report is signed: its page stays as it is")
            return
    page = rebuild_report(run, policy, parquet=parquet)
    if not quiet:
        typer.echo(f"report: {page}")
