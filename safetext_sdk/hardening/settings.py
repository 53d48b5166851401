"""Settings of the trainer: meaning, unit, default, and why; and settings as the command line writes them.

The trainer's and the method's settings are objects of their own (``TrainConfig(steps=800)``,
``Anchor(push=1.2)``; ``train.steps=800``, ``method.push=1.2``), so that a name means one thing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..errors import UsageError
from ..methods import METHODS, Method
from ..prompts.random_words import PLACES, Places
from ..typed_settings import checked
from .pace import PaceSettings

PAIR_SHARES = ("statements", "surroundings", "insertions", "random_words", "look_alikes", "term_lists")
"""Settings that are shares of the unsafe prompts of a step."""
SAFE_SHARES = (
    "safe_surroundings",
    "borderline_surroundings",
    "harmless_insertions",
    "safe_random_words",
    "unlike_words",
)
"""Settings that are shares of the safe prompts of a step."""


Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a moment of AdamW; at 1 it would never move."""


class TrainConfig(PaceSettings):
    """How the weights are moved; the method says where to.

    What is not given stays as the recipe has it (`recipes`), or else as it is here.
    """

    steps: int = Field(default=300, ge=1, le=1_000_000, description="Optimiser steps.")
    epochs: float = Field(
        default=0.0,
        ge=0,
        le=10_000,
        description="If above 0, steps follow the number of prompts: as many as read so many unsafe prompts "
        "as the prompt book has, this often, and no fewer than ``steps`` where those are given beside it. "
        "Whoever sets one of the two alone sets how long a run is.",
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Unsafe prompts a step, over all processes. As many safe ones times safe_share come "
        "with them.",
    )
    safe_share: float = Field(
        default=1.0,
        gt=0,
        le=16,
        description="Safe prompts a step for each unsafe one. Safe prompts are the wider set, so not fewer.",
    )
    learning_rate: float = Field(
        default=3e-5,
        gt=0,
        le=1,
        description="AdamW step size for full weights, at its peak. 1e-5 to 1e-4 suits CLIP-size "
        "encoders; the embedded model takes 1e-3.",
    )
    lora_learning_rate: float = Field(
        default=3e-4,
        gt=0,
        le=1,
        description="The same for LoRA weights, which start from zero and need larger steps.",
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the steps over which the step size rises from 0: AdamW's moments are noise "
        "at first.",
    )
    final: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Step size at the end as a share of its peak; between them a half cosine.",
    )
    average: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the steps, the last ones, of whose weights the mean is written, each step "
        "counting the same (arXiv 1803.05407); 0 = the last step's weights. Steadier than they are, so that "
        "final may be larger.",
    )
    betas: tuple[Decay, Decay] = Field(
        default=(0.9, 0.99),
        description="AdamW's decay of both moments. A shorter second one than the usual .999 suits runs of a "
        "few hundred steps.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="AdamW weight decay. 0: pulling weights to zero would damage safe prompts.",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients longer than this are shortened to it.")
    train_embeddings: bool = Field(
        default=False,
        description="Also train token and position embeddings. Off: they only change for tokens that were "
        "seen, so nothing carries over to unseen wordings.",
    )
    whole_every: int = Field(
        default=4,
        ge=1,
        description="Every how many steps all positions of causal encoders are read; the others read the "
        "prompt and a few pad positions. Exact for what is read, because later positions cannot reach "
        "earlier ones, and several times cheaper. 1 = always all.",
    )
    prefix_margin: int = Field(
        default=4,
        ge=0,
        le=512,
        description="Pad positions read after the longest prompt in those cheaper steps.",
    )
    positions: int = Field(
        default=0,
        ge=0,
        description="Most positions of a prompt that training reads of encoders that are not causal; of "
        "longer prompts the end is cut, the end token stays. A step costs what its longest prompt costs. 0 = "
        "all.",
    )
    wide_safe: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="Extra safe texts made from the tokenizer and the policy: random token sequences, "
        "shuffled captions, near misses. 0 = none. The empty prompt and common negative prompts are always "
        "there.",
    )
    statements: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step that are the policy's shipped pairs of sentences, "
        "however many it has; without, they are as frequent as in the prompt book.",
    )
    surroundings: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step that stand in random surroundings (a request, "
        "style words, harmless words, another caption), their anchors in the same. 0 = none, as with all "
        "shares below; the rest of a step is the prompt book's.",
    )
    insertions: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step that are safe captions with a word of a concept "
        "inserted; the caption is the anchor.",
    )
    safe_surroundings: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the safe prompts of a step that stand in random surroundings.",
    )
    borderline_surroundings: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the safe prompts of a step that are borderline ones in random surroundings: "
        "what asks for a picture of something that looks unsafe is refused most easily.",
    )
    harmless_insertions: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the safe prompts of a step that are safe captions with a harmless word "
        "inserted, kept as they are. Belongs to insertions: else whatever looks inserted is ignored.",
    )
    random_words: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step that stand in up to twelve random words, most of "
        "them made up of the tokenizer's pieces; the target is the plain anchor, because random words may be "
        "read as the concept by themselves. What holds against random and optimised words.",
    )
    word_places: Places = Field(
        default=PLACES,
        description="How often random words stand before a prompt, behind it, on both sides of it and within "
        "it: four weights, of which the last is for unsafe prompts alone.",
    )
    bare_anchors: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the prompts in random words whose target is the concept's anchor by itself, "
        "without what else the prompt asks for: that is hard to find among random words, and what is drawn "
        "in its place may look like the concept.",
    )
    look_alikes: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step with a made-up name of their concept: a word that "
        "nobody wrote and that the original reads like one of the concept's.",
    )
    term_lists: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the unsafe prompts of a step that are lists of a concept's words, as people "
        "write them into the negative prompt.",
    )
    list_strength: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Where the target of such a list lies between the empty prompt (0) and the anchor (1). "
        "At 1 a negative prompt of unsafe words pushes pictures away from the anchor; at 0 such a list as a "
        "prompt shows what the empty prompt shows.",
    )
    safe_random_words: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the safe prompts of a step that stand in random words and must be what they "
        "are without. Belongs to random_words: else random words by themselves are redirected.",
    )
    unlike_words: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the safe prompts of a step that are the unsafe prompts' sentences about a "
        "made-up thing that the original reads unlike any concept, kept as they are: they stand for safe "
        "things that nobody listed.",
    )
    sequence_weight: float = Field(
        default=1.0,
        ge=0,
        description="How much the outputs at the positions of the prompt count in the loss beside the "
        "pooled output, which counts 1. 0 suits a sentence encoder, of which only the pooled vector is read; "
        "every encoder that is hardened needs one.",
    )
    extent: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="What is written is original + extent * (trained - original). Below 1 trades "
        "redirection for safe prompts without training again, above 1 the other way (weight-space "
        "ensembling, Wortsman et al. 2022, arXiv 2109.01903).",
    )
    lora_rank: int = Field(
        default=16, ge=1, le=1024, description="Rank of LoRA matrices, where LoRA is used."
    )
    lora_alpha: int | None = Field(
        default=None, ge=1, description="LoRA scale is alpha / rank; absent = rank, so that the scale is 1."
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="A checkpoint every so many steps; 0 = by time only."
    )
    checkpoint_seconds: float = Field(
        default=60.0, gt=0, description="A checkpoint at the latest after so many seconds."
    )
    prompts: int | None = Field(
        default=None,
        ge=1,
        description="Size asked of the policy's prompt expansion; absent = its own default.",
    )

    @field_validator(*PAIR_SHARES, *SAFE_SHARES)
    @classmethod
    def _leaves_room(cls, value: float, info: ValidationInfo) -> float:
        side = PAIR_SHARES if info.field_name in PAIR_SHARES else SAFE_SHARES
        if value + sum(info.data.get(name, 0.0) for name in side) >= 1:
            raise PydanticCustomError(
                "shares", "{names} together must leave room for the prompt book", {"names": ", ".join(side)}
            )
        return value

    @field_validator("word_places")
    @classmethod
    def _stand_somewhere(cls, value: Places) -> Places:
        if not any(value[:3]):
            raise PydanticCustomError(
                "places", "safe prompts need a place: one of the first three weights above 0"
            )
        return value

    @property
    def further_shares(self) -> dict[str, float]:
        """Shares of a step that are not the prompt book's, by name; only those that are in use."""
        return {name: share for name in (*PAIR_SHARES, *SAFE_SHARES) if (share := getattr(self, name))}

    def steps_for(self, prompts: int) -> int:
        """Steps of a run whose prompt book trains on so many unsafe prompts."""
        if not self.epochs:
            return self.steps
        least = self.steps if "steps" in self.model_fields_set else 1
        return max(least, math.ceil(self.epochs * prompts / self.batch_size))

    def rate_at(self, step: int) -> float:
        """Factor on the peak step size: linear warm-up, then half a cosine down to ``final``."""
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return (step + 1) / warm
        progress = (step - warm) / max(1, self.steps - warm)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))

    def reads_whole(self, step: int) -> bool:
        """Whether this step reads all positions. The last of each group does, and so does the last step of
        all."""
        return step % self.whole_every == self.whole_every - 1 or step == self.steps - 1

    @property
    def safe_size(self) -> int:
        """Safe prompts a step, over all processes."""
        return max(1, round(self.batch_size * self.safe_share))


def from_text(
    method: str, written: Sequence[str], steps: int | None = None
) -> tuple[Method[Any], TrainConfig]:
    """A method and the trainer's settings, as the command line has them.

    Args:
        method: its name.
        written: ``["method.push=1.2", "train.batch_size=16"]``. Values are read as YAML, and 3e-5 as the
            number that it is.
        steps: short for ``train.steps=...``.

    Raises:
        UsageError: no such method or setting, a value out of range, or a setting without its room; with what
            was probably meant.
    """
    kind = METHODS.get(method)
    given = assignments(written, kind.Config)
    if steps is not None:
        if given["train"].get("steps", steps) != steps:
            raise UsageError(
                f"--steps {steps} and train.steps={given['train']['steps']} contradict each other"
            )
        given["train"]["steps"] = steps
    return kind(**given["method"]), checked(TrainConfig, given["train"], "the trainer")


ROOMS = ("method", "train")


def assignments(written: Sequence[str], method: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """``["method.push=1.2", "train.steps=800"]`` -> ``{"method": {"push": 1.2}, "train": {"steps": 800}}``.

    The objects that are built of them check names and ranges.

    Args:
        written: as given to ``--set``.
        method: the settings of the chosen method, for the hint at a name without its room.

    Raises:
        UsageError: not of that form; with the form that was probably meant.
    """
    fields: Mapping[str, type[BaseModel]] = {"method": method, "train": TrainConfig}
    out: dict[str, dict[str, Any]] = {room: {} for room in ROOMS}
    for item in written:
        place, sign, value = item.partition("=")
        room, dot, name = place.strip().partition(".")
        if not sign or not place.strip():
            raise UsageError(f"--set {item!r}: write method.NAME=VALUE or train.NAME=VALUE")
        if not dot or room not in ROOMS:
            raise UsageError(f"--set {item!r}: {_meant(place.strip(), fields)}")
        out[room][name] = read_value(value)
    return out


def _meant(place: str, fields: Mapping[str, type[BaseModel]]) -> str:
    every = [f"{room}.{name}" for room, kind in fields.items() for name in kind.model_fields]
    last = place.rpartition(".")[2]
    found = [name for name in every if name.partition(".")[2] == last]
    found = found or difflib.get_close_matches(place, every, n=2, cutoff=0.5)
    found = found or difflib.get_close_matches(f"train.{last}", every, n=2, cutoff=0.7)
    hint = f"did you mean {' or '.join(found)}?" if found else "write method.NAME=VALUE or train.NAME=VALUE"
    return f"a setting belongs to the method or to the trainer; {hint}"


def read_value(text: str) -> Any:
    """A setting's value as people write it: YAML, and 3e-5 as the number that it is.

    Raises:
        UsageError: it is not readable.
    """
    import yaml

    try:
        if "e" in text.lower() or "." in text:  # YAML takes 3e-5 for a word
            return float(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{text!r} is not readable as a setting's value") from error
