"""What an attack is: settings, what it needs, and one result a prompt. Whoever runs attacks knows no more.

An attack gets both models and may look at all of their weights if it says so (``needs``); it never imports a
detector. One that has to see pictures calls ``context.judge``. What it hands back is text that a user would
type: success is told on pictures that the ordinary pipeline makes from that text.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field

from ..typed_settings import Settings, settings_of

if TYPE_CHECKING:
    import torch

    from ..models import TextToImageModel
    from ..policy import Policy

Need = Literal["encoder", "denoiser", "gradients", "pictures", "negative prompt", "terms"]
"""encoder: prompts are encoded; gradients: through the encoders' weights, so no exported file; denoiser: it
is run; pictures: they are made and looked at while searching; negative prompt: it must reach the denoiser;
terms: the policy must have unsafe words."""
Threat = Literal["black box", "encoder", "white box", "negative prompt", "probe"]
"""What the attacker must have. black box: the prompt alone; encoder: the text encoders' weights; white box:
the denoiser's as well; negative prompt: that field too; probe: what no encoder can stop, reported and never
gated."""
Budget = Literal["small", "paper"]
"""paper: what the publication spent, the default of every setting; small: what a laptop can wait for."""


@dataclass(frozen=True)
class Judged:
    """What pictures of one prompt show, over all picture seeds: see `AttackContext.judge`.

    Attributes:
        concepts: concepts of the policy that are seen with at least one seed.
        score: the highest score of a label that counts as unsafe, in [0, 1].
    """

    concepts: tuple[str, ...]
    score: float


Judge = Callable[[Sequence[str]], Sequence[Judged]]


@dataclass(frozen=True)
class AttackContext:
    """What an attack may use.

    Attributes:
        original, hardened: both models; an attack that needs neither is a black-box one.
        policy: what counts as unsafe; its terms are the words to hide.
        picture_seeds: seeds with which success will be told.
        progress: called with (steps done, steps in all) inside a long search.
        cache: folder for what is costly and can be used again (trajectories, embeddings); None: keep nothing.
        judge: makes pictures of prompts with the hardened model and says what they show, one answer a prompt;
            None where no pictures can be made.
        guided: whether a negative prompt reaches the denoiser.
    """

    original: TextToImageModel
    hardened: TextToImageModel
    policy: Policy
    picture_seeds: tuple[int, ...] = (0,)
    progress: Callable[[int, int], None] = lambda done, total: None
    cache: Path | None = None
    judge: Judge | None = None
    guided: bool = True

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return self.hardened.device

    @property
    def terms(self) -> list[str]:
        """The terms of all concepts."""
        return [term for concept in self.policy.concepts for term in concept.terms]

    @property
    def names(self) -> list[str]:
        """All that prompts may name the concepts by: terms, euphemisms, and words of other languages."""
        return [word for concept in self.policy.concepts for word in concept.all_words]

    def nothing_to_find(self, *, denoiser: bool = False) -> str | None:
        """Why there is nothing to search for an attack that wants a text of which the attacked model makes
        what the original made of the prompt: it makes that of the prompt itself, and whatever defends it
        takes no part. None where it makes something else, and for the undefended model itself, which the
        prompt gets through as it is.

        Args:
            denoiser: whether the denoiser's predictions are wanted, and not the conditioning alone.
        """
        original, hardened = self.original, self.hardened
        if hardened is original or not hardened.reads_like(original):
            return None
        if denoiser and hardened.denoiser is not original.denoiser:
            return None
        parts = "encoders and denoiser" if denoiser else "encoders"
        return f"its {parts} are the original's, so the plain prompt gives what this attack looks for"


@dataclass(frozen=True)
class Beside:
    """What is typed beside one text.

    Attributes:
        negative: the negative prompt.
        guidance: how often the guidance of all other pictures, e.g. 2.0.
    """

    negative: str = ""
    guidance: float = 1.0


@dataclass(frozen=True)
class Changed:
    """The models that draw an attack's pictures in the place of those that were given; see
    `Attack.changed`."""

    hardened: TextToImageModel
    original: TextToImageModel


@dataclass(frozen=True)
class AttackResult:
    """What became of one prompt.

    Attributes:
        prompt: as it was given.
        texts: what the attacker types instead, in any number of forms: the prompt is broken if a picture of
            any of them shows the concept. The prompt itself where nothing better was found.
        success: whether the attack saw the concept in a picture of a text; None: it made no pictures.
        queries: prompts sent to the model under attack.
        forward_passes: texts, tokens' embeddings or latents sent through an encoder or the denoiser of either
            model; a backward pass counts as one more. Those of the budget: an answer that was known already
            is counted, and not computed again.
        seconds: wall time; a share of the batch's where prompts were attacked together.
        notes: facts worth keeping, e.g. ``{"objective": "0.83"}``.
        beside: what is typed beside each text; empty where nothing is.
    """

    prompt: str
    texts: tuple[str, ...]
    success: bool | None = None
    queries: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
    notes: Mapping[str, str] | None = None
    beside: tuple[Beside, ...] = ()

    def typed(self) -> Iterator[tuple[str, Beside]]:
        """Every text with what stands beside it."""
        return zip(self.texts, self.beside or (Beside(),) * len(self.texts), strict=True)


class AttackConfig(Settings):
    """Base of all attacks' settings. Defaults are the published budget."""

    seed: int = Field(default=0, ge=0, description="Of every random choice of the attack.")


C = TypeVar("C", bound=AttackConfig)


class Attack(Generic[C]):
    """Base of the attacks. ``Typos(seed=1)`` is short for ``Typos(TyposConfig(seed=1))``.

    Class attributes: ``name``; ``summary`` (one line); ``source`` (paper and section, "" where there is
    none); ``threat``: what the attacker must have; ``needs``; ``gated`` (False keeps its figure out of the
    gates: no encoder can stop it); ``Config``; ``small``: settings that differ with a small budget;
    ``version``: raised where the same settings find other texts than before, so that attacked prompts kept on
    disk are searched anew.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str] = ""
    threat: ClassVar[Threat] = "black box"
    needs: ClassVar[frozenset[Need]] = frozenset()
    gated: ClassVar[bool] = True
    Config: ClassVar[type[AttackConfig]] = AttackConfig
    small: ClassVar[Mapping[str, Any]] = {}
    version: ClassVar[int] = 1

    def __init__(self, config: C | None = None, **values: Any) -> None:
        """
        Args:
            config: the settings.
            values: settings by name instead.

        Raises:
            UsageError: both, an unknown setting, or a value out of range, with what is allowed.
        """
        self.config: C = settings_of(self.Config, config, values, f"attack {self.name}")

    @classmethod
    def for_budget(cls, budget: Budget, **values: Any) -> Attack[C]:
        """The attack with the settings of a budget; ``values`` override them."""
        return cls(**{**(cls.small if budget == "small" else {}), **values})

    def materials(self) -> Mapping[str, str]:
        """What it draws from beside its settings (a word list, a checkpoint): name and sha256, so that a gate
        can tell whether it is the shipped one."""
        return {}

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        """Yield one result a prompt, each as soon as it is known; any order. Deterministic for the settings,
        and a prompt's result does not depend on its neighbours."""
        raise NotImplementedError

    def baseline(self) -> Attack[Any] | None:
        """The same objective searched at random, at equal cost; None where nothing is searched."""
        return None

    def impossible(self, context: AttackContext) -> str | None:
        """Why these models cannot be attacked like that, beyond ``needs``; None if they can."""
        return None

    def sees_pictures(self, context: AttackContext) -> bool:
        """Whether it looks at pictures while it searches: then what it finds depends on how they are drawn
        and judged."""
        return "pictures" in self.needs

    def changed(self, prompts: Sequence[str], context: AttackContext) -> Changed | None:
        """The models that draw the pictures of this attack, where it changes the model itself; None, as here,
        where it changes only text. Asked for after `attack`, with the same prompts."""
        return None

    def random(self, prompt: str) -> random.Random:
        """Random choices for one prompt: the same whatever else is attacked."""
        return random.Random(zlib.crc32(prompt.encode()) ^ self.config.seed)


class Rewriting(Attack[C]):
    """Base of attacks that only rewrite text: no model, no search."""

    def rewrite(self, prompt: str, context: AttackContext, rng: random.Random) -> str | tuple[str, ...]:
        """What to send instead of ``prompt``: a text, or several, none twice."""
        raise NotImplementedError

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            found = self.rewrite(prompt, context, self.random(prompt))
            yield AttackResult(prompt, (found,) if isinstance(found, str) else found)
