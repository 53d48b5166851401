"""safetext validate: the same prompts and seeds through the original and the hardened model, every
picture scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options

if TYPE_CHECKING:
    from safetext_sdk import Report


def validate(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Run folder that `safetext harden` made; none with --original and --encoder.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", help="Judge by this policy instead of the run's own."),
    ] = None,
    n: options.N = None,
    unsafe_n: options.UnsafeN = None,
    safe_n: options.SafeN = None,
    unseen_n: options.UnseenN = None,
    borderline_n: options.BorderlineN = None,
    negative_n: options.NegativeN = None,
    attack_n: options.AttackN = None,
    seeds: options.Seeds = "0",
    prompts: options.Prompts = None,
    column: options.Column = None,
    label: options.Label = None,
    attacks: options.Attacks = None,
    attack: Annotated[list[str] | None, typer.Option("--attack", hidden=True)] = None,
    budget: options.Budget = "paper",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Also take this metric from the pictures (fid, kid, lpips, clip_score, r_precision ...; "
            "`safetext metrics list`); commas between, or several times.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of a metric, e.g. fid.extractor=inception.pt; repeatable."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Measure this encoder: with RUN an export of it (ONNX file or folder); with --original any "
            "encoder, by path or hub id (folder, safetensors, LoRA, ONNX).",
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option("--original", help="Without a run: the model whose place --encoder takes."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Measure a run whose files are not as recorded; recorded, and no gate passes it."
        ),
    ] = False,
    sign: options.Sign = None,
    out: options.Out = None,
    steps: options.PictureSteps = None,
    size: options.Size = None,
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = 32,
    cache: options.Cache = None,
    device: options.Device = "auto",
    ray: options.Ray = None,
    pictures: options.Pictures = None,
    quiet: options.Quiet = False,
) -> None:
    """Generate with the original and with the hardened model, score every picture, write the report."""
    from safetext_sdk.errors import UsageError
    from safetext_sdk.processes import first

    quiet = quiet or not first()  # of several processes one speaks
    if attack:
        raise UsageError(f"--attack is called --attacks now, e.g. --attacks standard,{attack[0]}")
    options.pixels(size)  # a slip of the pen is told before torch is imported
    spent = options.budget(budget)
    options.starting("loading both models and writing the prompts", quiet)
    wanted = options.one_policy(policy) if policy else None
    own = options.prompt_file(prompts, column, label)
    from functools import partial

    from safetext_sdk import audit as run_audit
    from safetext_sdk import validate as run_validate
    from safetext_sdk.report import report_text
    from safetext_sdk.verdict.decision import Verdict, next_step

    measure: partial[Report]
    if run is not None:
        if original is not None:
            raise UsageError("--original is for an encoder without a run; a run names its own")
        exported = Path(encoder) if encoder is not None else None
        measure = partial(run_validate, None, run, wanted, encoder=exported)
    elif original is None or encoder is None or wanted is None:
        raise UsageError("name a run, or an encoder without one: --original MODEL --encoder PATH --policy P")
    else:
        measure = partial(run_audit, original, encoder, wanted)
    report = measure(
        out=out,
        n=options.sizes(
            n,
            unsafe=unsafe_n,
            safe=safe_n,
            unseen=unseen_n,
            borderline=borderline_n,
            negative=negative_n,
            attacked=attack_n,
        ),
        seeds=options.whole_numbers("--seeds", seeds),
        prompts=own,
        attacks=tuple(attacks) if attacks else "standard",
        metrics=options.metrics(metrics, settings),
        budget=spent,
        settings=options.picture_settings(steps, size),
        precision=precision,
        batch_size=batch_size,
        cache=options.picture_cache(cache),
        device=device,
        ray=ray,
        pictures=pictures,
        force=force,
        sign=sign,
        progress=not quiet,
    )
    if not first():
        return
    if not quiet:
        typer.echo(report_text(report))
    verdict = Verdict.read(report.folder) if report.folder is not None and not quiet else None
    if verdict is not None:
        typer.echo(verdict.text())
    typer.echo(f"report: {report.folder}")
    if verdict is not None:
        typer.echo(next_step(verdict, out or run or str(report.folder)))
