"""`safetext policy`: see, check and document policies. No logic here: the library has it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options

app = typer.Typer(no_args_is_help=True, help="Show, check and document policies.")

Refs = Annotated[
    list[str],
    typer.Argument(
        metavar="POLICY...", help="Policy file, or the name of a shipped one.", show_default=False
    ),
]
ForModel = Annotated[str | None, typer.Option("--model", "-m", help="Expand for this model id, e.g. tiny.")]


@app.command("show")
def show(
    policy: Refs,
    sample: Annotated[
        int, typer.Option("--sample", "-n", min=0, help="How many prompts of each kind to print.")
    ] = 5,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    everything: Annotated[
        bool, typer.Option("--all", help="Print every prompt instead of a sample.")
    ] = False,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Unsafe prompts for training.")] = None,
    model: ForModel = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """What a policy expands to: counts of every split and prompts with their anchors, before anything is
    trained."""
    from safetext_sdk.diagnostics.policy_overview import overview

    count = None if everything else sample
    shown = overview(options.one_policy(policy), split=split, count=count, size=size, model=model, seed=seed)
    if as_json:
        _json(shown.as_dict())
    else:
        typer.echo("\n".join(shown.lines()))


@app.command("lint")
def lint(
    policy: Refs,
    model: ForModel = None,
    seed: options.Seed = 0,
    each: Annotated[
        bool, typer.Option("--each", help="Check every policy by itself instead of all as one.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Mistakes in a policy. Exit code 0 with or without warnings, 2 with an error."""
    from safetext_sdk.errors import UsageError

    if not each:
        _lint(policy, model, seed, as_json)
        return
    if as_json and len(policy) > 1:
        raise UsageError("--json with --each takes one policy")
    wrong: list[UsageError] = []
    for one in policy:
        try:
            _lint([one], model, seed, as_json)
        except UsageError as error:
            wrong.append(error)
    if wrong:
        # One line a file: every mistake is told, not the first file's alone.
        for earlier in wrong[:-1]:
            typer.secho(f"error: {earlier}", err=True, fg="red")
        raise wrong[-1]


def _lint(policy: list[str], model: str | None, seed: int, as_json: bool) -> None:
    from safetext_sdk.diagnostics.policy_lint import lint_policy, require_clean
    from safetext_sdk.diagnostics.policy_overview import wrapped

    whole = options.one_policy(policy)
    findings = lint_policy(whole, model=model, seed=seed)
    if as_json:
        _json({"name": whole.name, "sha256": whole.sha256, "findings": [asdict(f) for f in findings]})
    elif findings:
        typer.echo("\n".join(line for f in findings for line in wrapped(f.line(), "  ")))
    else:
        typer.echo(f"{whole.name}: nothing to complain about")
    require_clean(findings, " + ".join(policy))


@app.command("schema")
def schema(
    page: Annotated[
        bool, typer.Option("--page", help="The reference page (markdown) instead of the JSON Schema.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file.")] = None,
) -> None:
    """JSON Schema of the policy file, for editors; with --page the reference page."""
    from safetext_sdk.diagnostics.policy_page import reference_page
    from safetext_sdk.files import write_text_atomic
    from safetext_sdk.metrics.gates import gate_fields
    from safetext_sdk.policy import policy_json_schema

    text = reference_page() if page else _as_json(policy_json_schema(gate_fields())) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text_atomic(out, text)
    typer.echo(f"written: {out}")


@app.command("list")
def list_policies(as_json: options.AsJson = False) -> None:
    """The shipped policies."""
    from safetext_sdk.diagnostics.policy_overview import shipped_rows, wrapped

    rows = shipped_rows()
    if as_json:
        _json(rows)
        return
    for row in rows:
        typer.echo("\n".join(wrapped(f"{row['name']!s:14}{row['description']}", " " * 14)))


@app.command("sources")
def list_sources(as_json: options.AsJson = False) -> None:
    """Where prompts come from by `shipped:`: built-in sources and those of plug-ins."""
    from safetext_sdk.diagnostics.policy_overview import wrapped
    from safetext_sdk.prompts.sources import PROMPT_SOURCES

    rows = [{"name": e.name, "summary": e.summary, "source": e.source} for e in PROMPT_SOURCES.entries()]
    if as_json:
        _json(rows)
        return
    width = max(len(row["name"]) for row in rows) + 2
    for row in rows:
        text = f"{row['name']:{width}}{row['summary']} [{row['source']}]"
        typer.echo("\n".join(wrapped(text, " " * width)))


def _json(data: Any) -> None:
    typer.echo(_as_json(data))


def _as_json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
