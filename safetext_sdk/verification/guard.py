"""The last line of a serving process before it serves: is the hardened encoder really in this pipeline?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import NotHardenedError
from ..models.run_folder import RunFolder
from .identify import verify_against

if TYPE_CHECKING:
    from ..models.model import HardenedModel

Pipe = TypeVar("Pipe")


def guard(pipe: Pipe, run: HardenedModel | RunFolder | str | Path, *, allow_partial: bool = False) -> Pipe:
    """Give a diffusers pipeline back if its text encoders are the hardened ones of a run; raise otherwise.

    The encoders are asked themselves, by the run's canary prompts (a second on a GPU, some on a CPU), so a
    front end that loaded another file, a LoRA on the encoder or half a replacement is found. Call it after
    everything is loaded, and again after anything is: it looks once and watches nothing.

    Args:
        pipe: a diffusers pipeline with its encoders on one device, or a `TextToImageModel`.
        run: what `harden` returned, or a run folder.
        allow_partial: take a run that left an encoder as it was (`harden --allow-partial`).

    Returns:
        ``pipe``, so that ``pipe = guard(load(), run)`` is one line.

    Raises:
        NotHardenedError: another encoder, or it could not be told; the message says which.
        RunError: no finished run there, or one without canaries.
    """
    folder = RunFolder.open(run if isinstance(run, str | Path) else run.path)
    if changed := folder.check():
        raise NotHardenedError(f"{folder.path} is not as recorded ({changed[0]}): it proves nothing")
    left = [name for name, state in folder.manifest["encoders"].items() if state != "hardened"]
    if left and not allow_partial:
        raise NotHardenedError(f"{folder.path} is partly hardened: {', '.join(left)} was left as it was")
    found = verify_against(folder, pipe)
    if found.verdict == "hardened":
        lacking = [name for name in folder.manifest["encoders"] if name not in found.encoders]
        if not lacking:
            return pipe
        raise NotHardenedError(f"{found.target} has no {', '.join(lacking)}, so nothing is said about it")
    raise NotHardenedError(found.text())
