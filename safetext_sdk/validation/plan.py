"""What a validation is asked to do, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import MissingExtraError, UsageError
from .set_sizes import SIZED

if TYPE_CHECKING:
    from ..attacks import Attack
    from ..attacks.base import Budget
    from .generate import Settings
    from .own_prompts import PromptFile


class DrawingOptions(TypedDict, total=False):
    """The fields of `DrawingPlan` as keyword arguments."""

    seeds: Sequence[int]
    encoder: Any
    settings: Settings | None
    book_seed: int | None
    cache: str | Path | None
    batch_size: int
    device: str
    precision: str
    force: bool
    ray: str | None
    pictures: str | None


class PlanOptions(DrawingOptions, total=False):
    """Keyword arguments of `safetext_sdk.validate`: the fields of `ValidationPlan`."""

    n: int | Mapping[str, int] | None
    prompts: str | Path | PromptFile | None
    attacks: str | Sequence[str | Attack[Any]]
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]]
    budget: Budget


def check_ray(address: str | None, pictures: str | None) -> None:
    """Ray is installed, where a cluster is asked for.

    Raises:
        MissingExtraError: it is not.
        UsageError: a place for pictures, and no cluster.
    """
    if pictures is not None and address is None:
        raise UsageError("--pictures is where the workers of --ray keep theirs; alone it means nothing")
    if address is not None and find_spec("ray") is None:
        raise MissingExtraError("working on a Ray cluster", "ray")


@dataclass(frozen=True, kw_only=True)
class DrawingPlan:
    """How pictures are drawn, whatever is asked of them.

    Attributes:
        seeds: picture seeds; every prompt is drawn with each.
        encoder: an exported encoder that takes the place of the run's weights.
        settings: steps, guidance, size; absent ones are the model's own.
        book_seed: seed of the prompt book; None: the one that hardening used (with another the test prompts
            are not held out).
        cache: folder of the undefended model's pictures shared between runs (`picture_cache.usual_folder` is
            the command line's); None: none.
        batch_size: pictures at once, fewer where memory runs out.
        device: where models and detectors run.
        precision: of models that are loaded for this: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        force: measure a run whose files are not as recorded all the same; recorded, and no gate passes it.
        ray: draw and score on this Ray cluster: ``auto``, ``local`` or an address (see `ray_crew`); None: in
            this process.
        pictures: with ``ray``, where workers keep pictures (``s3://bucket/run``, anything that fsspec
            reaches); None: they share the report folder.

    Raises:
        UsageError: a place for pictures, and no cluster.
        MissingExtraError: ``ray`` is asked for and not installed.
    """

    seeds: Sequence[int] = (0,)
    encoder: Any = None
    settings: Settings | None = None
    book_seed: int | None = None
    cache: str | Path | None = None
    batch_size: int = 32
    device: str = "auto"
    precision: str = "auto"
    force: bool = False
    ray: str | None = None
    pictures: str | None = None

    def __post_init__(self) -> None:
        check_ray(self.ray, self.pictures)


@dataclass(frozen=True)
class ValidationPlan(DrawingPlan):
    """What is drawn and scored; how is in `DrawingPlan`.

    Attributes:
        n: distinct prompts a set, or by set (``{"unsafe": 300, "safe": 100, "attacked": 60}``); sets that are
            not named, or all with None, have as many as the policy's gates need (see `sample_plan`).
        prompts: the user's own prompts, a file or a published set, see `own_prompts.PromptFile`.
        attacks: attacks to run on a sample of the unsafe prompts: ``none``, ``standard``, ``strong``, names
            (see ``safetext attacks list``), or attacks made with settings; see `attacks.sets.choose`.
        metrics: metrics that look at the pictures themselves (``fid``, ``lpips`` ...), or each with its
            options; beside those that the policy asks for.
        budget: of attacks that are named: ``paper`` (what the publication spent) or ``small``.

    Raises:
        UsageError: no seed, or one twice; sizes of sets that do not exist, or below 0.
        MissingExtraError: ``ray`` is asked for and not installed.
    """

    n: int | Mapping[str, int] | None = None
    prompts: str | Path | PromptFile | None = None
    attacks: str | Sequence[str | Attack[Any]] = "standard"
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] = ()
    budget: Budget = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError("seeds must be distinct, and at least one")
        if isinstance(self.n, Mapping) and (unknown := sorted(set(self.n) - set(SIZED))):
            raise UsageError(f"n: there is no set {unknown[0]!r} (sets: {', '.join(SIZED)})")
        sizes = [] if self.n is None else [self.n] if isinstance(self.n, int) else list(self.n.values())
        if any(size < 0 for size in sizes):
            raise UsageError("n: a set cannot have fewer than 0 prompts")

    def chosen_attacks(self) -> list[Attack[Any]]:
        """The attacks that are to be run, made with their settings.

        Raises:
            UsageError: an unknown name, or one that a set of pictures has.
        """
        from ..attacks.sets import choose
        from .run_attacks import resolve_attacks

        return resolve_attacks(choose(self.attacks, self.budget))

    def chosen_metrics(self) -> dict[str, Mapping[str, Any]]:
        """Metrics that the call asks for, with their options, checked.

        Raises:
            UsageError: an unknown one, one that is always taken, or options that it does not have.
        """
        from ..metrics.asked import chosen

        return chosen(self.metrics)
