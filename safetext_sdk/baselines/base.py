"""What a baseline is: settings, what it learns once from a policy, and the model that it makes.

Learning and defending are apart so that what was learned can be kept on disk: a comparison that is started
again learns nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import Field

from ..prompts.prompt_book import OWN, STATEMENT
from ..typed_settings import Settings, settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import TextToImageModel
    from ..policy import Policy
    from ..prompts import PromptBook

    Learned = Mapping[str, Tensor]
    """Tensors by name; empty for a baseline that learns nothing."""
else:
    Learned = Mapping


@dataclass(frozen=True)
class BaselineContext:
    """What a baseline may learn from: what a hardening gets, and nothing of the test split.

    Attributes:
        original: the undefended model; nothing about it may be changed.
        policy: what counts as unsafe.
        book: its prompts. Only the splits train and validation may be read.
        progress: called with (steps done, steps in all).
    """

    original: TextToImageModel
    policy: Policy
    book: PromptBook
    progress: Callable[[int, int], None] = lambda done, total: None

    @property
    def words(self) -> list[tuple[str, str]]:
        """(word, anchor prompt) of every concept in turn: the synonyms of the training split, the policy's
        order first, so that held-out ones are as new to a baseline as to a hardening; where a concept has
        prompts but no such words, its terms. The anchor is the shortest of its concept: the one with the
        least around it."""
        columns = []
        for concept in self.policy.concepts:
            mine = [u for u in self.book.train.unsafe if u.concept == concept.id]
            known = dict.fromkeys(u.synonym for u in mine if u.template not in (OWN, STATEMENT))
            ordered = [*(term for term in concept.terms if term in known), *known]
            anchor = min((u.anchor for u in mine), key=lambda text: (len(text), text), default="")
            columns.append([(word, anchor) for word in dict.fromkeys(ordered or concept.terms)])
        longest = max(map(len, columns), default=0)
        return [column[i] for i in range(longest) for column in columns if i < len(column)]


class BaselineConfig(Settings):
    """Base of all baselines' settings. Defaults are the published ones."""

    seed: int = Field(default=0, ge=0, description="Of every random choice of the baseline.")


C = TypeVar("C", bound=BaselineConfig)


class Baseline(Generic[C]):
    """Base of the baselines. ``Uce(guide="anchor")`` is short for ``Uce(UceConfig(guide="anchor"))``.

    Class attributes: ``name``; ``summary`` (one line); ``source`` (paper and section, "" where there is
    none); ``Config``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str] = ""
    Config: ClassVar[type[BaselineConfig]] = BaselineConfig

    def __init__(self, config: C | None = None, **values: Any) -> None:
        """
        Args:
            config: the settings.
            values: settings by name instead.

        Raises:
            UsageError: both, an unknown setting, or a value out of range, with what is allowed.
        """
        self.config: C = settings_of(self.Config, config, values, f"baseline {self.name}")

    def impossible(self, model: TextToImageModel) -> str:
        """Why this model cannot have the baseline, in one line; empty if it can."""
        return ""

    def learn(self, context: BaselineContext) -> Learned:
        """What is fitted once, deterministic for the settings; empty for a baseline without training."""
        return {}

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        """The defended model. It shares all with the original that it does not change.

        Args:
            learned: from `learn` with an equal context, perhaps in an earlier run.
        """
        raise NotImplementedError
