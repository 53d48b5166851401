"""safetext validate: the same prompts and seeds through the original and the hardened model, every
picture scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def validate(
    run: options.Run,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", help="Judge by this policy instead of the run's own."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="Distinct prompts a set, instead of what `safetext plan` says."),
    ] = None,
    unsafe_n: options.UnsafeN = None,
    safe_n: options.SafeN = None,
    unseen_n: options.UnseenN = None,
    borderline_n: options.BorderlineN = None,
    negative_n: options.NegativeN = None,
    attack_n: options.AttackN = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Picture seeds, comma-separated.")] = "0",
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            help='Own prompts, jsonl: {"prompt": ..., "label": "unsafe|safe|borderline", "concept": ...}.',
        ),
    ] = None,
    attacks: options.Attacks = None,
    attack: Annotated[list[str] | None, typer.Option("--attack", hidden=True)] = None,
    budget: options.Budget = "paper",
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder",
            help="Measure this exported encoder instead of the run's weights: ONNX file or export folder.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Measure a run whose files are not as recorded; recorded, and no gate passes it."
        ),
    ] = False,
    sign: options.Sign = None,
    out: options.Out = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Generate with the original and with the hardened model, score every picture, write the report."""
    from safetext_sdk.errors import UsageError

    if attack:
        raise UsageError(f"--attack is called --attacks now, e.g. --attacks standard,{attack[0]}")
    wanted = options.one_policy(policy) if policy else None
    from safetext_sdk import validate as run_validate
    from safetext_sdk.report import report_text

    report = run_validate(
        None,
        run,
        wanted,
        out=out,
        n=options.sizes(
            n,
            unsafe=unsafe_n,
            safe=safe_n,
            safe_unseen=unseen_n,
            borderline=borderline_n,
            negative=negative_n,
            negative_unsafe=negative_n,
            attacked=attack_n,
        ),
        seeds=picture_seeds(seeds),
        prompts=prompts,
        attacks=tuple(attacks) if attacks else "standard",
        budget=options.budget(budget),
        encoder=encoder,
        device=device,
        force=force,
        sign=sign,
        progress=not quiet,
    )
    if not quiet:
        typer.echo(report_text(report))
    typer.echo(f"report: {report.folder}")


def picture_seeds(text: str) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2)."""
    from safetext_sdk.errors import UsageError

    try:
        seeds = tuple(int(s) for s in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds {text!r}: write whole numbers with commas, e.g. 0,1,2") from error
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UsageError(f"--seeds {text!r}: seeds are distinct and not negative")
    return seeds
