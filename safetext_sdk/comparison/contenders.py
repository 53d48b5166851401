"""Who is compared: runs, other models, and baselines, each made when its turn comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..baselines import BASELINES, Baseline, BaselineContext, Learned
from ..errors import RunError, UsageError
from ..models import CATALOGUE
from ..models.run_folder import RunFolder
from ..prompts.prompt_book import book_digest
from ..validation.keys import digest, model_fingerprint
from ..validation.session import Step
from ..validation.subjects import Subjects, audited, resolve
from .entries import Kind

if TYPE_CHECKING:
    from ..models import HardenedModel, TextToImageModel
    from ..policy import Policy
    from ..prompts import PromptBook

    Given = HardenedModel | TextToImageModel | str | Path
    """A run, or any model whose encoders take the place of the original's."""

LEARNED = "learned.safetensors"


@dataclass(frozen=True)
class Setting:
    """What all contenders share.

    Attributes:
        original: the undefended model.
        policy: what all are judged by.
        book: its prompts, of one seed for all.
        out: the comparison's folder; an entry has a folder of its name in it.
        device: where models are loaded.
        tell: told about progress.
        precision: of models that are loaded.
    """

    original: TextToImageModel
    policy: Policy
    book: PromptBook
    out: Path
    device: str
    tell: Step
    precision: str = "auto"


@dataclass(frozen=True)
class Contender:
    """One row to be: what is known before it is measured. ``impossible``: why it cannot be made.
    ``ready``: a report that may already answer."""

    name: str
    kind: Kind
    detail: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    impossible: str = ""
    subjects: Subjects | None = None
    seconds: float | None = None
    ready: Path | None = None


def resolve_baselines(given: Sequence[str | Baseline[Any]]) -> list[Baseline[Any]]:
    """Baselines by name (with their published settings) or as made by the caller, each name once.

    Raises:
        UsageError: an unknown name, or one that cannot be imported.
    """
    made = [BASELINES.get(each)() if isinstance(each, str) else each for each in given]
    return list({baseline.name: baseline for baseline in made}.values())


def contenders(
    given: Sequence[Given], baselines: Sequence[Baseline[Any]], setting: Setting
) -> Iterator[Contender]:
    """Baselines first, then runs and models; each is made when it is asked for, so that one at a time is in
    memory.

    Raises:
        RunError: a run that was made from another model.
        ModelError: a model that cannot be loaded.
    """
    taken: set[str] = set()
    for baseline in baselines:
        taken.add(baseline.name)
        yield _baseline(baseline, setting)
    for each in given:
        subjects = _subjects(each, setting)
        if subjects.hardened.family != setting.original.family:
            raise UsageError(
                f"{_name(each)} is of the family {subjects.hardened.family}, {setting.original.id} of "
                f"{setting.original.family}: they cannot be compared"
            )
        run, name = subjects.run, _unique(_name(each), taken)
        if run is None:
            detail = subjects.given.form if subjects.given is not None else str(subjects.hardened.id)
            yield Contender(name, "model", detail, subjects=subjects)
            continue
        manifest = subjects.manifest
        source = manifest.get("source", {}).get("id")
        if source != setting.original.id and _files(manifest) != dict(setting.original.source.files):
            raise RunError(f"{run.path} was hardened from {source}, not from {setting.original.id}")
        recipe = manifest.get("recipe")
        detail = f"{manifest.get('method')}" + (f", recipe {recipe}" if recipe else "")
        seconds = manifest.get("training", {}).get("seconds")
        yield Contender(name, "run", detail, subjects=subjects, seconds=seconds, ready=run.report_dir)


def is_foreign(given: Given) -> bool:
    """Whether this is the place of an encoder that no run of ours made, not a run or a known model."""
    if not isinstance(given, str | Path) or str(given) in CATALOGUE:
        return False
    return not RunFolder.is_run(given)


def _subjects(given: Given, setting: Setting) -> Subjects:
    if isinstance(given, str | Path) and is_foreign(given):
        return audited(setting.original, given, setting.policy)
    return resolve(
        setting.original, given, setting.policy, device=setting.device, precision=setting.precision
    )


def _files(manifest: Any) -> dict[str, str]:
    return dict(manifest.get("source", {}).get("files", {}))


def _name(given: Given) -> str:
    if isinstance(given, str | Path):
        return Path(given).name or str(given)
    path = getattr(given, "path", None)
    return path.name if isinstance(path, Path) else str(getattr(given, "id", "model"))


def _unique(name: str, taken: set[str]) -> str:
    """A name that is free, and that a file system takes."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name) or "model"
    tries = (plain, *(f"{plain}-{k}" for k in range(2, len(taken) + 3)))
    found = next(name for name in tries if name not in taken)
    taken.add(found)
    return found


def _baseline(baseline: Baseline[Any], setting: Setting) -> Contender:
    settings = baseline.config.model_dump(mode="json")
    name, detail = baseline.name, baseline.source or baseline.summary
    if why := baseline.impossible(setting.original):
        return Contender(name, "baseline", detail, settings, impossible=why)

    def progress(done: int, total: int) -> None:
        setting.tell(f"learning {name}", done, total)

    context = BaselineContext(setting.original, setting.policy, setting.book, progress)
    learned, seconds = learned_once(baseline, context, setting.out / name / LEARNED)
    defended = baseline.defend(context, learned)
    subjects = Subjects(setting.original, defended, None, setting.policy)
    return Contender(name, "baseline", detail, settings, subjects=subjects, seconds=seconds)


def learned_once(
    baseline: Baseline[Any], context: BaselineContext, file: Path, clock: Callable[[], float] = time.monotonic
) -> tuple[Learned, float]:
    """What a baseline learns, and the seconds that took: read from ``file`` if it was learned there from the
    same model, policy, prompts and settings, else learned and kept."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from ..files import atomic_file

    parts = [baseline.name, baseline.config.model_dump(mode="json"), context.policy.sha256]
    key = digest([*parts, book_digest(context.book), model_fingerprint(context.original)])
    if file.is_file():
        with safe_open(file, "pt") as stored:
            known = stored.metadata() or {}
            if known.get("key") == key:
                return {name: stored.get_tensor(name) for name in stored.keys()}, float(known["seconds"])  # noqa: SIM118
    begun = clock()
    learned = baseline.learn(context)
    seconds = round(clock() - begun, 3)
    if learned:
        whole = {name: tensor.contiguous() for name, tensor in learned.items()}
        with atomic_file(file) as temporary:
            save_file(whole, temporary, {"key": key, "seconds": str(seconds)})
    return learned, seconds
