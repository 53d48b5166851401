"""safetext generate: let a person look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def generate(
    model: Annotated[str, typer.Argument(help="Run folder or model.", show_default=False)],
    prompt: Annotated[list[str], typer.Option("--prompt", help="Prompt; may be given several times.")],
    negative: Annotated[str, typer.Option("--negative", help="Negative prompt.")] = "",
    seed: options.Seed = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file to write.")] = Path("picture.png"),
    before_after: Annotated[
        bool, typer.Option("--before-after", help="Left the original model, right the hardened one.")
    ] = False,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="Swap in this exported encoder (ONNX file or export folder)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Denoising steps; the model's default if left out.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Guidance scale; the model's default if left out.")
    ] = None,
    size: options.Size = None,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Generate a picture for each prompt with a model, a run's hardened model, or both side by side."""
    from safetext_sdk.files import check_image_name, save_image
    from safetext_sdk.validation.generate import Request
    from safetext_sdk.validation.picture_grid import models_to_show, picture_grid

    check_image_name(out)
    settings = options.picture_settings(steps, size, guidance)
    models = models_to_show(
        model, before_after=before_after, encoder=encoder, device=device, precision=precision
    )
    requests = [Request(text, seed, negative) for text in prompt]
    image = picture_grid(models, requests, settings, progress=not quiet)
    save_image(image, out)
    typer.echo(f"picture: {out}")
