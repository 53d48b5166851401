"""Recipes: the measured settings for a kind of encoder and a method, each with where they come from.

A recipe says only what it changes; all else is as in `TrainConfig` and the method's own settings. Which one a
run starts from is decided by the kind of encoder, the method, how many concepts the policy has, and the level
that is asked for (``--recipe fast|default|thorough``); ``--recipe NAME`` takes a row by its own name. What a
user sets goes over it. It is said before the start and recorded in the run folder.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel

from ..errors import UsageError
from ..methods.adversarial.config import AdversarialConfig
from ..methods.anchor.config import AnchorConfig
from ..methods.base import Method, overlaid
from ..methods.safetext.config import SafeTextConfig
from ..models.catalogue import CATALOGUE
from ..typed_settings import as_typed, checked
from .settings import TrainConfig

if TYPE_CHECKING:
    from ..models.model import TextToImageModel

Level = Literal["fast", "default", "thorough"]
LEVELS: tuple[Level, ...] = get_args(Level)
DEFAULT = "default"
SENTENCE = "sentence-encoder"
MANY = 6
"""From so many concepts on, nearly everything unsafe moves, and prompts must be kept from sharing a few
anchors. Measured with 2 and with 21 concepts; where between them the line runs was not."""
_EVERY = (1, 10_000)


@dataclass(frozen=True)
class Recipe:
    """Settings for one kind of encoder.

    Attributes:
        name: what ``--recipe`` takes; a row for one method and one for any may share it.
        source: where its figures come from.
        method: the method that it is for; "" = any.
        train, settings: what it changes of the trainer's and the method's settings.
        kind: of encoder, as the catalogue and the families name it; "" = any.
        levels: of ``--recipe`` that it answers to; none = only to its name.
        concepts: of the policy: at least, and at most.
        step_seconds: what a step was measured to take, by device type ("cpu", "cuda"), and that device in
            words.
    """

    name: str
    source: str
    method: str = ""
    train: TrainConfig = field(default_factory=TrainConfig)
    settings: BaseModel | None = None
    kind: str = ""
    levels: tuple[Level, ...] = ()
    concepts: tuple[int, int] = _EVERY
    step_seconds: Mapping[str, tuple[float, str]] = field(default_factory=dict)

    def expected_time(self, steps: int, device: str) -> str:
        """How long ``steps`` take on a device like the one that was measured, in words."""
        if device not in self.step_seconds:
            return f"time: not measured for this recipe on {device}"
        each, where = self.step_seconds[device]
        seconds = steps * each
        span = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
        return f"time: about {span} for the steps, as measured on {where}"


_FEW = TrainConfig(
    steps=300,
    epochs=3.2,
    batch_size=16,
    safe_share=2.5,
    learning_rate=4e-4,
    sequence_weight=0.0,
    positions=40,
    statements=0.26,
    surroundings=0.13,
    insertions=0.53,
    safe_surroundings=0.12,
    borderline_surroundings=0.25,
    harmless_insertions=0.09,
    prompts=2500,
    extent=0.95,
)
_MANY = TrainConfig(
    steps=400,
    epochs=2.6,
    batch_size=16,
    safe_share=2.5,
    learning_rate=4e-4,
    sequence_weight=0.0,
    positions=40,
    surroundings=0.35,
    insertions=0.1,
    safe_surroundings=0.12,
    borderline_surroundings=0.25,
    harmless_insertions=0.09,
    prompts=9800,
    extent=0.75,
)
_ANCHOR_FEW = AnchorConfig(push=2.0, margin=0.8, margin_weight=8.0, safe_weight=6.0)
_ANCHOR_MANY = AnchorConfig(
    push=1.5,
    margin=0.8,
    margin_weight=2.0,
    contrast=0.2,
    contrast_anchors=1024,
    temperature=0.12,
    safe_weight=6.0,
)

_TINY = TrainConfig(
    steps=170,
    batch_size=32,
    learning_rate=1e-3,
    final=0.05,
    random_words=0.25,
    bare_anchors=1.0,
    look_alikes=0.06,
    term_lists=0.15,
    safe_random_words=0.2,
    unlike_words=0.3,
)
_ANCHOR_TINY = AnchorConfig(contrast=0.05)
_TINY_TIME: Mapping[str, tuple[float, str]] = {
    "cpu": (0.35, "two idle CPU cores, the writing of the texts included")
}
_TIME: Mapping[str, tuple[float, str]] = {
    "cpu": (2.6, "one thread of a busy CPU"),
    "cuda": (0.12, "an H200 that up to sixteen runs shared"),
}

RECIPES: tuple[Recipe, ...] = (
    Recipe(DEFAULT, "TrainConfig and the method as they stand; each field says why", levels=("default",)),
    Recipe(
        "tiny-anchor",
        "docs/results.md, the default of tiny (safetext harden, validate, attack)",
        "anchor",
        overlaid(
            _TINY,
            TrainConfig(
                steps=400,
                random_words=0.3,
                word_places=(3, 3, 1, 1),
                list_strength=0.25,
                safe_random_words=0.3,
            ),
        ),
        _ANCHOR_TINY,
        kind="tiny",
        levels=("default",),
        step_seconds=_TINY_TIME,
    ),
    Recipe(
        "tiny-anchor-fast",
        "docs/results.md, the demo (safetext demo), which hardens with it",
        "anchor",
        _TINY,
        _ANCHOR_TINY,
        kind="tiny",
        levels=("fast",),
        step_seconds=_TINY_TIME,
    ),
    Recipe(
        "tiny-anchor-long",
        "docs/results.md, random words (tiny_results.py --methods anchor --recipe thorough), measured with "
        "other texts in random words and twelve sampler steps; not since",
        "anchor",
        overlaid(_TINY, TrainConfig(steps=600)),
        kind="tiny",
        levels=("thorough",),
        step_seconds=_TINY_TIME,
    ),
    Recipe(
        "tiny",
        "docs/results.md, strengths of a method (benchmarks/pareto.py): 2 M weights take large steps",
        train=TrainConfig(learning_rate=1e-3, steps=200),
        kind="tiny",
        levels=("default",),
    ),
    Recipe(
        "advunlearn",
        "AdvUnlearn, arXiv 2405.15234, section 5 and its published code; not measured here",
        "adversarial",
        TrainConfig(
            steps=1000,
            batch_size=1,
            safe_share=5.0,
            learning_rate=1e-5,
            warmup=0.0,
            final=1.0,
            betas=(0.9, 0.999),
            clip_norm=1e9,
            train_embeddings=True,
            whole_every=1,
        ),
        AdversarialConfig(
            inner="esd-encoder",
            settings={"guidance": 1.0, "safe_weight": 0.3},
            towards="noise",
            rounds=30,
            begin=0.2,
            portion=1.0,
            prefix=1,
            step_size=1e-3,
            step_unit="absolute",
            pool=True,
        ),
    ),
    Recipe(
        SENTENCE,
        "docs/real-english.md, ten policies (benchmarks/real_english.py)",
        "anchor",
        _MANY,
        _ANCHOR_MANY,
        kind=SENTENCE,
        levels=("default",),
        concepts=(MANY, _EVERY[1]),
        step_seconds=_TIME,
    ),
    Recipe(
        f"{SENTENCE}-fast",
        "docs/real-english.md, ten policies (benchmarks/real_english.py --recipe fast): as many pairs, fewer "
        "of them in unseen surroundings",
        "anchor",
        overlaid(_MANY, TrainConfig(steps=300, epochs=0.816, extent=0.85)),
        _ANCHOR_MANY,
        kind=SENTENCE,
        levels=("fast",),
        concepts=(MANY, _EVERY[1]),
        step_seconds=_TIME,
    ),
    Recipe(
        f"{SENTENCE}-few",
        "docs/real-english.md, nudity alone (benchmarks/real_english.py --only nudity): three times the "
        "steps learn its texts by heart and redirect a quarter less",
        "anchor",
        _FEW,
        _ANCHOR_FEW,
        kind=SENTENCE,
        levels=("fast", "default"),
        concepts=(1, MANY - 1),
        step_seconds=_TIME,
    ),
    Recipe(
        f"{SENTENCE}-pairs",
        "docs/real-english.md, hardened from CoProV2 pairs (benchmarks/real_english.py)",
        "anchor",
        TrainConfig(
            steps=1600,
            batch_size=16,
            safe_share=1.5,
            learning_rate=2e-4,
            sequence_weight=0.0,
            wide_safe=1000,
            prompts=10_000,
        ),
        AnchorConfig(push=1.2, margin=0.6, margin_weight=1.0, contrast=0.35, safe_weight=3.0),
        kind=SENTENCE,
    ),
    Recipe(
        f"{SENTENCE}-safetext",
        "docs/real-english.md, method safetext (benchmarks/real_english.py --only safetext)",
        "safetext",
        overlaid(
            _MANY,
            TrainConfig(steps=400, epochs=1.6, safe_share=5.0, learning_rate=2e-4, extent=0.7),
        ),
        SafeTextConfig(strength=0.5, distance="relative", cosine="signed"),
        kind=SENTENCE,
        levels=("default",),
        step_seconds=_TIME,
    ),
)


def kind_of(model: TextToImageModel) -> str:
    """The kind of encoder that recipes know a model by; "" = none of its own."""
    if model.id in CATALOGUE:
        return _catalogued(model.id)
    return model.reader.recipe_kind(model.encoders)


def _catalogued(model: str) -> str:
    kind = CATALOGUE[model].recipe if model in CATALOGUE else DEFAULT
    return "" if kind == DEFAULT else kind


def recipe_of(
    method: str, model: str, name: str | None = None, *, kind: str | None = None, concepts: int = 1
) -> Recipe:
    """The recipe of a run.

    Args:
        method: its name.
        model: a model's id; one that the catalogue does not know has no kind of its own, unless ``kind``
            says it.
        name: a level, or the name of a recipe; None = the level ``default``. Where the kind has no default
            for the method, that of any kind is taken.
        kind: of encoder (`kind_of`); None = as the catalogue has it.
        concepts: how many the policy has.

    Raises:
        UsageError: no recipe of that name, none for this method, or no such level for this kind of encoder.
    """
    kind = _catalogued(model) if kind is None else kind
    level = name or DEFAULT
    if level in LEVELS:
        fitting = [
            r
            for r in RECIPES
            if level in r.levels
            and r.kind in (kind, "")
            and r.method in (method, "")
            and r.concepts[0] <= concepts <= r.concepts[1]
        ]
        if fitting:
            return max(fitting, key=lambda r: (r.kind != "", r.method != ""))
        fits = [r for r in RECIPES if r.kind in (kind, "") and r.method in (method, "")]
        have = ", ".join(x for x in LEVELS if any(x in r.levels for r in fits))
        raise UsageError(
            f"recipe {name!r} is not measured for {method} on this kind of encoder; it has {have}"
        )
    named = sorted((r for r in RECIPES if r.name == name), key=lambda r: r.method == "")
    for recipe in named:
        if recipe.method in (method, ""):
            return recipe
    if named:
        raise UsageError(f"recipe {name!r} is for method {named[0].method}, not for {method}")
    raise UsageError(f"unknown recipe {name!r}; {_near(level, list(dict.fromkeys(r.name for r in RECIPES)))}")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, [*LEVELS, *known], n=2, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known: {', '.join(dict.fromkeys([*LEVELS, *known]))}"


def settled(
    recipe: Recipe, method: Method[Any], train: TrainConfig | None
) -> tuple[Method[Any], TrainConfig]:
    """What a run is done with: the recipe, and over it what was set explicitly in ``method`` and ``train``.

    Where the recipe is silent, the trainer's settings that the method itself asks for come first. Steps that
    were set are not lengthened by the recipe's ``epochs``.

    Raises:
        UsageError: a setting goes together with the recipe's no better than two of one's own would.
    """
    start = checked(TrainConfig, method.wanted_training(), f"train_defaults of method {method.name}")
    base = _over(_over(start, recipe.train), train, f"the trainer with recipe {recipe.name}")
    if recipe.settings is None:
        return type(method)(method.config), base
    both = f"method {method.name} with recipe {recipe.name}"
    return type(method)(overlaid(recipe.settings, method.config, both)), base


def _over(base: TrainConfig, given: TrainConfig | None, what: str = "the trainer") -> TrainConfig:
    """``base`` with what ``given`` sets. Steps and epochs both say how long: whoever sets one, sets that."""
    length = {"steps", "epochs"}
    if given is not None and given.model_fields_set & length:
        base = TrainConfig.model_validate(base.model_dump(exclude_unset=True, exclude=length))
    return overlaid(base, given, what)


def rows() -> list[dict[str, Any]]:
    """The recipes for a table: what each is for, and what it changes, as ``--set`` takes it."""
    return [
        {
            "name": recipe.name,
            "level": ", ".join(recipe.levels),
            "method": recipe.method or "any",
            "models": recipe.kind or "any",
            "concepts": _range(recipe.concepts),
            "settings": [
                f"{room}.{key}={as_typed(getattr(part, key))}"
                for room, part in (("train", recipe.train), ("method", recipe.settings))
                if part is not None
                for key in type(part).model_fields
                if key in part.model_fields_set
            ],
            "source": recipe.source,
        }
        for recipe in RECIPES
    ]


def _range(concepts: tuple[int, int]) -> str:
    least, most = concepts
    if concepts == _EVERY:
        return "any"
    return f"{least} or more" if most == _EVERY[1] else f"up to {most}"
