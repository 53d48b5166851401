"""safetext harden: policy + model -> run folder with the hardened encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def harden(
    policy: options.Policy,
    model: options.Model = "tiny",
    method: Annotated[
        str, typer.Option("--method", help="How to harden; see `safetext methods list`.")
    ] = "anchor",
    recipe: options.Recipe = None,
    out: options.Out = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Short for --set train.steps=N.")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    lora: Annotated[
        int,
        typer.Option("--lora", min=0, help="Train a LoRA of this rank instead of all weights; 0 trains all."),
    ] = 0,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the method or the trainer: method.push=1.2, train.batch_size=16; may be given "
            "several times.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="Harden this encoder only; may be given several times."),
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Leave out an encoder that reads the prompt. No gate passes such a model."
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune the text encoder of MODEL so that the policy's unsafe prompts condition it like safe ones."""
    merged = options.one_policy(policy)  # a bad policy must fail before torch is imported
    options.starting(f"loading {model} and writing the prompts of {merged.name}", quiet)
    where = out or default_run_folder(merged.name, model, method, seed)
    from safetext_sdk import harden as run_harden
    from safetext_sdk.hardening.settings import from_text

    made, train = from_text(method, config or [], steps)
    hardened = run_harden(
        model,
        merged,
        made,
        train,
        out=where,
        recipe=recipe,
        seed=seed,
        lora=lora or False,
        resume=resume,
        device=device,
        precision=precision,
        progress=not quiet,
        encoders=encoder or None,
        allow_partial=allow_partial,
    )
    typer.echo(f"run folder: {hardened.run.path}")
    if not quiet:
        typer.echo(f"next: safetext validate {hardened.run.path}")


def default_run_folder(policy: str, model: str, method: str, seed: int) -> Path:
    """runs/<policy>-<model>-<method>-<seed>, free of characters that a file system dislikes."""
    name = "-".join((policy, Path(model).name, method, f"s{seed}"))
    return Path("runs") / "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
