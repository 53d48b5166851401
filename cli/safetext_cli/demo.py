"""safetext demo: the whole road on the embedded model, in minutes, without network or GPU."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from . import options


def demo(
    policy: Annotated[str, typer.Option("--policy", "-p", help="Policy to demonstrate.")] = "weapons",
    model: options.Model = "tiny",
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")] = Path("safetext-demo"),
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="Distinct prompts a set, instead of what `safetext plan` says."),
    ] = None,
    attacks: options.Attacks = None,
    steps: options.PictureSteps = None,
    size: options.Size = None,
    precision: options.Precision = "auto",
    cache: options.Cache = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished demo in --out.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Harden, validate, gate and export, from the weapons policy to a report that you can open.

    Exit code of the verdict: 0 pass, 1 fail, 4 inconclusive. The demo measures, attacks included, and says
    what came out."""
    start = time.monotonic()

    def say(text: str) -> None:
        if not quiet:
            typer.secho(f"[{time.monotonic() - start:4.0f} s] {text}", fg="cyan")

    options.pixels(size)
    merged = options.one_policy([policy])
    from safetext_exporters import export

    import safetext_sdk as st
    from safetext_sdk.report import report_text

    say(f"1/4 harden the text encoder of {model} against {policy}")
    original = st.load_model(model, device=device, precision=precision)
    hardened = st.harden(original, merged, out=out, seed=seed, resume=resume, progress=not quiet)
    say("2/4 validate: as many prompts as the gates need, plain and attacked, through both encoders")
    wanted = tuple(attacks) if attacks else "standard"
    report = st.validate(
        original,
        hardened,
        merged,
        n=n,
        attacks=wanted,
        settings=options.picture_settings(steps, size),
        cache=options.picture_cache(cache),
        device=device,
        progress=not quiet,
    )
    if not quiet:
        typer.echo(report_text(report))
    say("3/4 gate")
    verdict = st.gate(report, merged)
    if not quiet:
        typer.echo(verdict.text())
    say("4/4 export")
    for target in ("diffusers", "onnx"):
        try:
            typer.echo(f"{target}: {export(hardened, target).path}")
        except st.MissingExtraError as missing:  # the core works without onnxruntime
            typer.echo(f"{target}: skipped; {missing}")
    say(f"done in {time.monotonic() - start:.0f} s; verdict: {verdict.word}, exit code {verdict.exit_code}")
    typer.echo(f"report: {out / 'report' / 'index.html'}")
    if not quiet:
        typer.echo(
            f'look:   safetext generate {out} --prompt "a picture of a sword next to an apple" --before-after'
        )
    raise typer.Exit(verdict.exit_code)
