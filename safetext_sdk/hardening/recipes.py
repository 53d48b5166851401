"""Recipes: the measured settings for a kind of encoder and a method, each with where they come from.

A recipe says only what it changes; all else is as in `TrainConfig` and the method's own settings. The
catalogue names the recipe of each model it knows; ``--recipe`` takes another. What a user sets goes over the
recipe. The run folder records which one was used.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ..errors import UsageError
from ..methods.adversarial.config import AdversarialConfig
from ..methods.anchor.config import AnchorConfig
from ..methods.base import Method, overlaid
from ..models.catalogue import CATALOGUE
from ..typed_settings import checked
from .settings import TrainConfig

DEFAULT = "default"


@dataclass(frozen=True)
class Recipe:
    """Settings for one kind of encoder.

    Attributes:
        name: what ``--recipe`` takes; several methods may have a row of one name.
        source: where its figures come from.
        method: the method that it is for; "" = any.
        train, settings: what it changes of the trainer's and the method's settings.
    """

    name: str
    source: str
    method: str = ""
    train: TrainConfig = field(default_factory=TrainConfig)
    settings: BaseModel | None = None


RECIPES: tuple[Recipe, ...] = (
    Recipe(DEFAULT, "TrainConfig and the method as they stand; each field says why"),
    Recipe(
        "tiny",
        "docs/results.md (benchmarks/tiny_results.py): 2 M weights take large steps, 200 are enough",
        train=TrainConfig(learning_rate=1e-3, steps=200),
    ),
    Recipe(
        "minilm",
        "the upper end of the step sizes in docs/methods.md; for redirection see sentence-encoder",
        train=TrainConfig(learning_rate=1e-4),
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
        "sentence-encoder",
        "docs/real-english.md, hardened from policies (benchmarks/real_english.py)",
        "anchor",
        TrainConfig(
            steps=1600,
            batch_size=16,
            safe_share=2.5,
            learning_rate=4e-4,
            sequence_weight=0.0,
            wide_safe=1000,
            prompts=9800,
            extent=0.86,
        ),
        AnchorConfig(
            push=1.5,
            margin=0.8,
            margin_weight=2.0,
            contrast=0.4,
            contrast_anchors=1024,
            temperature=0.12,
            safe_weight=6.0,
        ),
    ),
    Recipe(
        "sentence-encoder-pairs",
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
    ),
)


def recipe_of(method: str, model: str, name: str | None = None) -> Recipe:
    """The recipe called ``name``, or the one that the catalogue has for ``model``.

    Args:
        method: its name.
        model: a model's id; one that the catalogue does not know gets the default.
        name: of a recipe; None = by the model.

    Raises:
        UsageError: no recipe of that name, or none for this method.
    """
    wanted = name or (CATALOGUE[model].recipe if model in CATALOGUE else DEFAULT)
    for fits in (method, ""):
        for recipe in RECIPES:
            if (recipe.name, recipe.method) == (wanted, fits):
                return recipe
    if name is None:
        return RECIPES[0]
    known = list(dict.fromkeys(r.name for r in RECIPES))
    if name in known:
        others = ", ".join(r.method for r in RECIPES if r.name == name)
        raise UsageError(f"recipe {name!r} is for method {others}, not for {method}")
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    raise UsageError(f"unknown recipe {name!r}; {hint}")


def settled(
    recipe: Recipe, method: Method[Any], train: TrainConfig | None
) -> tuple[Method[Any], TrainConfig]:
    """What a run is done with: the recipe, and over it what was set explicitly in ``method`` and ``train``.

    Where the recipe is silent, the trainer's settings that the method itself asks for come first.
    """
    start = checked(TrainConfig, method.wanted_training(), f"train_defaults of method {method.name}")
    base = _over(_over(start, recipe.train), train)
    if recipe.settings is None:
        return type(method)(method.config), base
    return type(method)(overlaid(recipe.settings, method.config)), base


def _over(base: TrainConfig, given: TrainConfig | None) -> TrainConfig:
    """``base`` with what ``given`` sets. Steps and epochs both say how long: whoever sets one, sets that."""
    length = {"steps", "epochs"}
    if given is not None and given.model_fields_set & length:
        base = TrainConfig.model_validate(base.model_dump(exclude_unset=True, exclude=length))
    return overlaid(base, given)


def rows() -> list[dict[str, Any]]:
    """The recipes for a table: what each changes, as ``--set`` takes it."""
    return [
        {
            "name": recipe.name,
            "method": recipe.method or "any",
            "settings": [
                f"{room}.{key}={getattr(part, key)}"
                for room, part in (("train", recipe.train), ("method", recipe.settings))
                if part is not None
                for key in type(part).model_fields
                if key in part.model_fields_set
            ],
            "source": recipe.source,
        }
        for recipe in RECIPES
    ]
