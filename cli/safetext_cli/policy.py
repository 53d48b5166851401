"""`safetext policy`: see, check and document policies. No logic here: the library has it."""

from __future__ import annotations

import json
import shutil
import textwrap
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
    from safetext_sdk.errors import UsageError
    from safetext_sdk.policy import Policy
    from safetext_sdk.prompts import build_prompt_book
    from safetext_sdk.prompts.sample import sample_rows
    from safetext_sdk.prompts.splits import SPLITS

    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r} (allowed: {', '.join(SPLITS)})")
    whole = options.one_policy(policy)
    assert isinstance(whole, Policy)
    book = build_prompt_book(whole, seed=seed, model=model, size=size)
    rows = sample_rows(book.split(split), None if everything else sample, seed)
    if as_json:
        concepts = [
            {"id": c.id, "severity": c.severity, "terms": c.terms, "anchors": c.anchors}
            for c in whole.concepts
        ]
        _json(
            {
                "name": whole.name,
                "sha256": whole.sha256,
                "concepts": concepts,
                "counts": book.counts(),
                "split": split,
                "sample": rows,
            }
        )
        return
    typer.echo(f"{whole.name}  sha256 {whole.sha256[:16]}")
    _say(whole.description or "", "")
    for concept in whole.concepts:
        _say(
            f"{concept.id} ({concept.severity}): {len(concept.words)} words; anchors: "
            ""
            f"{'; '.join(concept.anchors[:3])}",
            "    ",
        )
    columns = ("unsafe", "synonyms", "templates", "safe", "safe_unseen", "borderline")
    typer.echo("\n" + f"{'':10}" + "".join(f"{c:>{len(c) + 2}}" for c in columns))
    for name, counts in book.counts().items():
        typer.echo(f"{name:10}" + "".join(f"{counts[c]:>{len(c) + 2}}" for c in columns))
    for kind, lines in rows.items():
        if lines:
            typer.echo(f"\n{split}, {kind}:")
        for row in lines:
            typer.echo(
                f"  {row['text']}" + (f"\n    -> {row['anchor']}" if row.get("anchor") else "")
            )  # a prompt stays on one line


@app.command("lint")
def lint(
    policy: Refs, model: ForModel = None, seed: options.Seed = 0, as_json: options.AsJson = False
) -> None:
    """Mistakes in a policy. Exit code 0 with or without warnings, 2 with an error."""
    from safetext_sdk.diagnostics.policy_lint import lint_policy, require_clean
    from safetext_sdk.policy import Policy

    whole = options.one_policy(policy)
    assert isinstance(whole, Policy)
    findings = lint_policy(whole, model=model, seed=seed)
    if as_json:
        _json({"name": whole.name, "sha256": whole.sha256, "findings": [asdict(f) for f in findings]})
    else:
        for f in findings:
            _say(f"{f.level}: {f.where}: {f.message} [{f.code}]", "  ")
        if not findings:
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
    from safetext_sdk.files import write_text_atomic
    from safetext_sdk.metrics.gates import gate_fields
    from safetext_sdk.policy import policy_json_schema

    if page:
        from safetext_sdk.diagnostics.policy_page import reference_page

        text = reference_page()
    else:
        text = json.dumps(policy_json_schema(gate_fields()), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text_atomic(out, text)
    typer.echo(f"written: {out}")


@app.command("list")
def list_policies(as_json: options.AsJson = False) -> None:
    """The shipped policies."""
    from safetext_sdk.policy import load_policy, shipped_policies

    rows = []
    for name, path in shipped_policies().items():
        whole = load_policy(name)
        rows.append(
            {
                "name": name,
                "description": whole.description,
                "concepts": [c.id for c in whole.concepts],
                "path": str(path),
            }
        )
    if as_json:
        _json(rows)
        return
    for row in rows:
        _say(f"{row['name']!s:14}{row['description']}", " " * 14)


def _say(text: str, indent: str) -> None:
    """Text wrapped to the terminal (never wider than 120 columns)."""
    width = min(shutil.get_terminal_size((80, 24)).columns, 120)
    typer.echo(
        textwrap.fill(
            text, max(40, width - 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    )


def _json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
