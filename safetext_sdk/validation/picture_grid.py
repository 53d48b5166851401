"""Pictures for a person to look at: a row a prompt, original and hardened side by side where both are asked
for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PILImage

from ..errors import UsageError
from ..prompts.prompt_text import damage_of
from .generate import PictureMaker, Request, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel

GAP = 4
BATCH = 8
MIN_SIDE = 256
"""Pictures smaller than this are shown enlarged (whole pixels): 64 px is hard to see on a screen."""


def models_to_show(
    ref: str | Path,
    *,
    before_after: bool = False,
    encoder: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> list[TextToImageModel]:
    """Which models draw, from left to right.

    Args:
        ref: model or run folder; of a run, the hardened model is used.
        before_after: the run's original model on the left. ``ref`` must be a run folder.
        encoder: an exported encoder that replaces the run's own.
        device, precision: as `load_model` takes them.

    Raises:
        UsageError: ``before_after`` or ``encoder`` without a run.
    """
    from ..models import load_model
    from ..models.run_folder import RunFolder
    from .subjects import resolve

    if RunFolder.is_run(ref):
        subjects = resolve(None, ref, None, encoder=encoder, device=device, precision=precision)
        return [subjects.original, subjects.hardened] if before_after else [subjects.hardened]
    if before_after or encoder is not None:
        raise UsageError(f"--before-after and --encoder need a run folder; {ref} is none")
    return [load_model(ref, device=device, precision=precision)]


def picture_grid(
    models: Sequence[TextToImageModel],
    requests: Sequence[Request],
    settings: Settings | None = None,
    *,
    progress: bool = False,
) -> Image:
    """Draw every request with every model: a row a request, a column a model.

    Args:
        settings: absent ones are the model's own.
        progress: show the pipeline's own bar while drawing.

    Raises:
        UsageError: no request, or a prompt with a character that no text has.
    """
    if not requests:
        raise UsageError("give at least one --prompt")
    for text in (part for request in requests for part in (request.prompt, request.negative_prompt)):
        if problem := damage_of(text):  # bytes of the command line that are no UTF-8 arrive as such
            raise UsageError(problem)
    columns = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, model in enumerate(models):
            maker = PictureMaker(model, Path(scratch) / str(i), settings=settings, batch_size=BATCH)
            if progress and hasattr(maker.pipe, "set_progress_bar_config"):
                maker.pipe.set_progress_bar_config(disable=False)
            parts = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
            columns.append([image for part in parts for image in maker.draw(part)])
    return lay_out(columns)


def lay_out(columns: list[list[Image]]) -> Image:
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
