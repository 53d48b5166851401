"""safetext gate: report + thresholds -> verdict -> exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options


def gate(
    run: options.Judged,
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
    margin: Annotated[
        float,
        typer.Option(
            "--margin",
            metavar="SHARE",  # the library holds it to 0..1: the range in this column cuts off a longer name
            help="How much worse than --baseline is allowed, from 0 to 1.",
        ),
    ] = 0.03,
    partial_gates: Annotated[
        bool,
        typer.Option(
            "--partial-gates", help="Let a policy without a gate on unsafe_rate decide; the verdict says so."
        ),
    ] = False,
    allow_missing_pictures: Annotated[
        bool,
        typer.Option("--allow-missing-pictures", help="Pictures may be gone; the verdict says so."),
    ] = False,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="The report must be signed by the owner of this key (PEM)."),
    ] = None,
    sign: options.Sign = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Hold the report's bounds against the policy's gates. Exit 0: pass, 1: fail, 4: inconclusive.

    Writes junit.xml and the pages, and appends the summary to $GITHUB_STEP_SUMMARY."""
    from safetext_sdk import gate as decide

    verdict = decide(
        run,
        options.one_policy(policy) if policy else None,
        baseline=baseline,
        sign=sign,
        margin=margin,
        partial_gates=partial_gates,
        allow_missing_pictures=allow_missing_pictures,
        public_key=public_key,
    )
    if as_json:
        typer.echo(json.dumps(verdict.as_dict(), indent=2))
    elif quiet:
        typer.echo(verdict.word)
    else:
        typer.echo(verdict.text())
    raise typer.Exit(verdict.exit_code)
