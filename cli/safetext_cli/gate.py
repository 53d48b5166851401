"""safetext gate: report + thresholds -> verdict -> exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options


def gate(
    run: options.Run,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", help="Take the gates from this policy instead of the run's own."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", help="An earlier run: fail on a regression against it (same prompts, same seeds)."
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Decide: exit 0 pass, 1 fail, 4 inconclusive. Writes junit.xml and appends to $GITHUB_STEP_SUMMARY."""
    from safetext_sdk import gate as decide

    verdict = decide(run, options.one_policy(policy) if policy else None, baseline=baseline)
    if as_json:
        typer.echo(json.dumps(verdict.as_dict(), indent=2))
    elif quiet:
        typer.echo(verdict.verdict)
    else:
        typer.echo(verdict.text())
    raise typer.Exit(verdict.exit_code)
