"""What a hardening method is. The trainer knows no more than this file.

* A method turns one step's tensors into named loss parts; ``"loss"`` is what is minimised, the others are
  shown.
* Its configuration is a pydantic model whose fields say what they mean; unknown fields are refused.
* Pure: a method keeps no tensors between steps, so a resumed run needs nothing from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Pieces = dict[str, Tensor]


class MethodConfig(BaseModel):
    """Base of all method configurations: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=MethodConfig)


@dataclass
class Batch:
    """One step, as the method sees it: what each encoder contributed to the conditioning, by piece name ([b,
        L, d] or [b, d]).

    ``unsafe``, ``safe``: the encoder in training. ``unsafe_original``, ``safe_original``: the original
    encoder on the same prompts.
    ``anchor``: the original encoder on each unsafe prompt's anchor prompt. ``unsafe_mask``, ``safe_mask``:
    [b, L] by piece, 1 where a position counts (only families whose pad positions nobody reads have one).
    ``weights``: how much each piece counts.
    ``other_anchors``: the original encoder on further anchors of the policy ([m, L, d] or [m, d]), none of
    them an anchor of this step; empty unless the method asks for them.
    """

    unsafe: Pieces
    unsafe_original: Pieces
    anchor: Pieces
    safe: Pieces
    safe_original: Pieces
    unsafe_mask: Mapping[str, Tensor]
    safe_mask: Mapping[str, Tensor]
    weights: Mapping[str, float]
    other_anchors: Pieces = field(default_factory=dict)


class Method(Generic[C]):
    """Base of the hardening methods.

    Class attributes: ``name``, ``summary`` (one line), ``source`` (paper), ``Config``, ``defaults`` (trainer
    settings that suit the method),
    ``needs_anchor`` and ``needs_original`` (which targets the trainer must provide for unsafe prompts; the
    others may be empty), ``other_anchors`` (how many further anchors of the policy it wants to see at each
    step).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    defaults: ClassVar[dict[str, Any]] = {}
    needs_anchor: bool = True
    needs_original: bool = True
    other_anchors: int = 0

    def __init__(self, config: C) -> None:
        self.config = config

    def start(self, trainable: Mapping[str, nn.Parameter], seed: int) -> None:
        """Called once before step 0 of a new run (never on resume); may change the weights that are
        trained."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of one step, ``{"loss": scalar, part: scalar, ...}``, each a mean over the prompts it is
        about."""
        raise NotImplementedError


def make_config(method: type[Method[Any]], values: Mapping[str, Any]) -> MethodConfig:
    """The method's configuration from plain values.

    Raises:
        UsageError: an unknown field or a value out of range, with what is allowed.
    """
    return checked(method.Config, values, f"method {method.name}")


M = TypeVar("M", bound=BaseModel)


def checked(kind: type[M], values: Mapping[str, Any], what: str) -> M:
    """Build a pydantic model; its complaints become one `UsageError` line."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"{what} has no setting {place!r}; it has {', '.join(kind.model_fields)}"
            ) from error
        raise UsageError(f"{what}, setting {place!r}: {first['msg']} (got {first.get('input')!r})") from error
