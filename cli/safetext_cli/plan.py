"""safetext plan: what the gates of a policy need, before anything is trained or drawn."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import options


def plan(
    policy: Annotated[
        list[str],
        typer.Argument(
            metavar="POLICY...", help="Policy file, or the name of a shipped one.", show_default=False
        ),
    ],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Plan for this model id, e.g. tiny.")
    ] = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """How many prompts and synonyms the gates need, what the policy offers, and what a perfect model would
    prove. Exit code 2 where a gate cannot be proven."""
    from safetext_sdk.diagnostics.plan_text import plan_text
    from safetext_sdk.errors import EXIT_USAGE
    from safetext_sdk.validation.sample_plan import plan_samples

    found = plan_samples(options.one_policy(policy), model=model, seed=seed)
    typer.echo(json.dumps(found.as_dict(), indent=2) if as_json else plan_text(found))
    if not found.provable:
        raise typer.Exit(EXIT_USAGE)
