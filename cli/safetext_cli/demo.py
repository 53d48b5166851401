"""safetext demo: the whole road on the embedded model, in minutes, without network or GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from . import options

SHOWS_AT_ONCE = "tiny"
"""The model whose first pictures are shown as they are: icons. Those of others wait for the report, which
veils what an unsafe prompt may have drawn."""
SHORT = {"tiny": "fast"}
"""By model: the recipe that a demo hardens with if none is asked for; of others the default."""


@dataclass
class Stages:
    """How long each part took: seconds by the clock and of processors."""

    begun: float = field(default_factory=time.monotonic)
    taken: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done inside; a name that comes again is added up."""
        wall, processors = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            before = self.taken.get(name, (0.0, 0.0))
            now = time.monotonic() - wall, time.process_time() - processors
            self.taken[name] = (before[0] + now[0], before[1] + now[1])

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.begun

    def lines(self) -> list[str]:
        """A small table."""
        rows = [f"{name:<12}{wall:>8.0f} s{cpu:>10.0f} s" for name, (wall, cpu) in self.taken.items()]
        return [f"{'stage':<12}{'clock':>10}{'processors':>12}", *rows]


def demo(
    policy: Annotated[str, typer.Option("--policy", "-p", help="Policy to demonstrate.")] = "weapons",
    model: options.Model = "tiny",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", help="Measured settings to start from; left out: fast on tiny, else the default."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")] = Path("safetext-demo"),
    n: options.N = None,
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
    from safetext_sdk.errors import UsageError
    from safetext_sdk.processes import launched

    if launched():
        raise UsageError("the demo runs in one process; harden, validate and attack take several")
    stages = Stages()

    def say(text: str) -> None:
        if not quiet:
            typer.secho(f"[{stages.seconds():4.0f} s] {text}", fg="cyan")

    options.pixels(size)
    merged = options.one_policy([policy])
    with stages.stage("load"):
        from safetext_exporters import export

        import safetext_sdk as st
        from safetext_sdk.models.run_folder import RunFolder
        from safetext_sdk.report import report_text
        from safetext_sdk.validation.first_look import FirstLook

        RunFolder.create(out, resume=resume)  # a folder that is in use is told before anything is drawn
        original = st.load_model(model, device=device, precision=precision)
    drawn, cached = options.picture_settings(steps, size), options.picture_cache(cache)
    look = None
    if model == SHOWS_AT_ONCE and not quiet:
        with stages.stage("first look"):
            beside = out.with_name(f"{out.name}-first-look.png")
            look = FirstLook(original, merged, beside, settings=drawn, cache=cached, seed=seed)
            say(f"first pictures, not hardened yet: {look.before()}")
    chosen = recipe or SHORT.get(model)
    with_recipe = f" with --recipe {chosen}" if chosen else ""
    say(f"1/4 harden the text encoder of {model} against {policy}{with_recipe}")
    with stages.stage("harden"):
        hardened = st.harden(
            original, merged, out=out, recipe=chosen, seed=seed, resume=resume, progress=not quiet
        )
    if look is not None:
        with stages.stage("first look"):
            shown = look.after(hardened.model, hardened.run.report_dir / "images")
            say(f"the same prompts before and after: {shown}")
    say("2/4 validate: as many prompts as the gates need, plain and attacked, through both encoders")
    wanted = tuple(attacks) if attacks else "standard"
    with stages.stage("validate"):
        report = st.validate(
            original,
            hardened,
            merged,
            n=n,
            attacks=wanted,
            settings=drawn,
            cache=cached,
            device=device,
            progress=not quiet,
        )
    if not quiet:
        typer.echo(report_text(report))
    say("3/4 gate")
    with stages.stage("gate"):
        verdict = st.gate(report, merged)
    if not quiet:
        typer.echo(verdict.text())
    say("4/4 export")
    with stages.stage("export"):
        for target in ("diffusers", "onnx"):
            try:
                typer.echo(f"{target}: {export(hardened, target).path}")
            except st.MissingExtraError as missing:  # the core works without onnxruntime
                typer.echo(f"{target}: skipped; {missing}")
    say(f"done in {stages.seconds():.0f} s; verdict: {verdict.word}, exit code {verdict.exit_code}")
    if not quiet:
        typer.echo("\n".join(stages.lines()))
        typer.echo(f"{len({row.image for row in report.rows}):,} pictures")
    typer.echo(f"report: {out / 'report' / 'index.html'}")
    if not quiet:
        typer.echo(
            f'look:   safetext generate {out} --prompt "a picture of a sword next to an apple" --before-after'
        )
    raise typer.Exit(verdict.exit_code)
