"""Pictures for a person to look at: a row a prompt, original and hardened side by side where both are asked
for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PILImage

from ..errors import UsageError
from .generate import PictureMaker, Request, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel

GAP = 4
MIN_SIDE = 256
"""Pictures smaller than this are shown enlarged (whole pixels): 64 px is hard to see on a screen."""


def picture_grid(
    ref: str | Path,
    prompts: Sequence[str],
    *,
    negative: str = "",
    seed: int = 0,
    before_after: bool = False,
    encoder: str | Path | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Image:
    """Generate one picture a prompt and lay them out.

    Args:
        ref: model or run folder; of a run, the hardened model is used.
        before_after: two columns, the run's original model on the left. ``ref`` must be a run folder.
        encoder: an exported encoder that replaces the model's own.
        progress: show the pipeline's own bar while drawing.

    Raises:
        UsageError: no prompt, or ``before_after`` without a run.
    """
    if not prompts:
        raise UsageError("give at least one --prompt")
    models = _models(ref, before_after, encoder, device)
    columns = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, model in enumerate(models):
            maker = PictureMaker(
                model, Path(scratch) / str(i), settings=Settings(steps=steps, guidance=guidance), batch_size=8
            )
            if progress and hasattr(maker.pipe, "set_progress_bar_config"):
                maker.pipe.set_progress_bar_config(disable=False)
            requests = [Request(p, seed, negative) for p in prompts]
            columns.append(
                [
                    image
                    for start in range(0, len(requests), 8)
                    for image in maker.draw(requests[start : start + 8])
                ]
            )
    return _lay_out(columns)


def _models(
    ref: str | Path, before_after: bool, encoder: str | Path | None, device: str
) -> list[TextToImageModel]:
    from ..models import load_model
    from ..models.run_folder import RunFolder
    from .subjects import resolve

    if RunFolder.is_run(ref):
        subjects = resolve(None, ref, None, encoder=encoder, device=device)
        return [subjects.original, subjects.hardened] if before_after else [subjects.hardened]
    if before_after or encoder is not None:
        raise UsageError(f"--before-after and --encoder need a run folder; {ref} is none")
    return [load_model(ref, device=device)]


def _lay_out(columns: list[list[Image]]) -> Image:
    side = max(image.width for column in columns for image in column)
    scale = max(1, -(-MIN_SIDE // side))
    height = max(image.height for column in columns for image in column) * scale
    width = side * scale
    out = PILImage.new(
        "RGB", (len(columns) * (width + GAP) - GAP, len(columns[0]) * (height + GAP) - GAP), "white"
    )
    for x, column in enumerate(columns):
        for y, image in enumerate(column):
            out.paste(
                image.resize((image.width * scale, image.height * scale), PILImage.Resampling.NEAREST),
                (x * (width + GAP), y * (height + GAP)),
            )
    return out
