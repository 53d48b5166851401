"""What a hardening method is. The trainer knows no more than this file.

* ``Config``: its settings, a pydantic model whose fields say what they mean; unknown fields are refused.
* ``prepare(context)``, once: whatever it needs of prompts, original, tokenizers and denoiser.
* ``loss(batch)``, each step: tensors to named parts; ``"loss"`` is what is minimised, the others are shown.

A method keeps nothing between steps but what ``prepare`` made, which is a function of the context alone, and
what its ``state`` hands out; so a resumed run ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from ..typed_settings import Settings, checked, settings_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .batch import Batch, StepInputs
    from .context import MethodContext
    from .prompt_table import StepRows


class MethodConfig(Settings):
    """Base of all method settings: frozen, unknown fields refused."""


C = TypeVar("C", bound=MethodConfig)


class Method(Generic[C]):
    """Base of the hardening methods. ``Anchor(push=1.2)`` is short for ``Anchor(AnchorConfig(push=1.2))``.

    Class attributes: ``name``, ``summary`` (one line), ``source`` (paper), ``Config``; ``train_defaults``:
    trainer settings that suit the method, where no recipe says otherwise.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    train_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: C | None = None, **values: Any) -> None:
        """
        Args:
            config: the settings.
            values: settings by name instead.

        Raises:
            UsageError: both, an unknown setting, or a value out of range, with what is allowed.
        """
        self.config: C = settings_of(self.Config, config, values, f"method {self.name}")

    def wanted_training(self) -> Mapping[str, Any]:
        """Trainer settings that suit the method as it is set: `train_defaults`, unless a method knows
        better."""
        return self.train_defaults

    def prepare(self, context: MethodContext) -> None:
        """Called once at the beginning of every run, resumed ones too. Announce here what each step reads
        (`MethodContext.keep`) and build what steps compare with."""

    def start(self, trainable: Mapping[str, nn.Parameter], seed: int) -> None:
        """Called once before step 0 of a new run (never on resume); may change the weights that are
        trained."""

    def state(self) -> Mapping[str, Tensor]:
        """What must outlive a stop, by name: written with each checkpoint. Most methods have nothing."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave, after `prepare`, before the first step of a resumed run."""

    def compared_rows(self, everyone: StepRows) -> np.ndarray:
        """Rows of the table that this step's loss compares its prompts with, position by position. A step
        that reads a prefix reads far enough for them. The step's own prompts need not be among them."""
        return np.zeros(0, np.int64)

    def inputs(self, inputs: StepInputs) -> StepInputs:
        """The prompts that go through the encoders in training, before each step: the place for adversarial
        tokens, shifted embeddings and further prompts. Must be a function of the step and of the weights."""
        return inputs

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of one step, ``{"loss": scalar, part: scalar, ...}``, each a mean over the prompts it is
        about."""
        raise NotImplementedError


def make_config(method: type[Method[Any]], values: Mapping[str, Any]) -> MethodConfig:
    """The method's settings from plain values.

    Raises:
        UsageError: an unknown field or a value out of range, with what is allowed.
    """
    return checked(method.Config, values, f"method {method.name}")


M = TypeVar("M", bound=BaseModel)


def overlaid(base: M, given: M | None, what: str = "settings") -> M:
    """``base`` with everything that was set explicitly in ``given``.

    Args:
        what: whose settings they are, for the message.

    Raises:
        UsageError: what is allowed in each of them alone is not in both together.
    """
    if given is None:
        return base
    explicit = {k: getattr(m, k) for m in (base, given) for k in m.model_fields_set}
    return checked(type(base), explicit, what)
