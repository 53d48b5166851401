"""A model with something before its denoiser, or another denoiser, that draws and encodes like any other.

`DefendedModel` hands every call of its pipeline, and every conditioning, to a `Defence`. The pipeline is of a
subclass of its own class made on the spot, so whoever looks at its call, its components or its parts sees
what was there before; the defence is a component more, and so part of every key of a picture.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from ..models import Conditioning, TextToImageModel
from ..models.families.conditioning import Tokens

Encode = Callable[[Tokens], Conditioning]
"""Tokens to what the undefended model conditions on."""
Draw = Callable[..., Any]
"""The undefended pipeline's call."""


class Defence:
    """What is done to prompts and conditioning; as it stands, nothing.

    Attributes:
        config: everything that a picture depends on, as plain values.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})

    def condition(self, encode: Encode, tokens: Tokens) -> Conditioning:
        """What the denoiser reads for these tokens."""
        return encode(tokens)

    def draw(self, model: DefendedModel, draw: Draw, arguments: dict[str, Any]) -> Any:
        """Pictures of a batch.

        Args:
            model: the defended model.
            draw: the undefended pipeline's call.
            arguments: of the call; ``prompt`` is a list.
        """
        return draw(**arguments)


@dataclass
class DefendedModel(TextToImageModel):
    """A model that a `Defence` stands before."""

    defence: Defence = field(default_factory=Defence)

    @classmethod
    def of(cls, model: TextToImageModel, defence: Defence) -> DefendedModel:
        """``model`` with a defence; encoders and denoiser are shared."""
        parts = {f.name: getattr(model, f.name) for f in fields(TextToImageModel) if f.name != "_pipeline"}
        return cls(**parts, defence=defence)

    def condition(
        self, tokens: Tokens, *, encoders: Mapping[str, Any] | None = None, clip_skip: int | None = None
    ) -> Conditioning:
        def encode(given: Tokens) -> Conditioning:
            return TextToImageModel.condition(self, given, encoders=encoders, clip_skip=clip_skip)

        return self.defence.condition(encode, tokens)

    def reads_like(self, other: TextToImageModel) -> bool:
        changed = type(self.defence).condition is not Defence.condition
        return not changed and super().reads_like(other)

    def pipeline(self) -> Any:
        if self._pipeline is None:
            self._pipeline = _guarded(super().pipeline(), self)
        return self._pipeline


def _guarded(pipe: Any, model: DefendedModel) -> Any:
    """A shallow copy of a pipeline whose call goes through the model's defence."""
    kind = type(pipe)

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **given: Any) -> Any:
        arguments = inspect.signature(kind.__call__).bind(self, *args, **given).arguments
        arguments.pop("self")
        arguments |= arguments.pop("kwargs", {})
        if isinstance(arguments.get("prompt"), str):
            arguments["prompt"] = [arguments["prompt"]]
        return model.defence.draw(model, functools.partial(kind.__call__, self), arguments)

    def components(self: Any) -> dict[str, Any]:
        return {**kind.components.fget(self), "defence": model.defence}

    out = copy.copy(pipe)
    out.__class__ = type(kind.__name__, (kind,), {"__call__": call, "components": property(components)})
    return out


def rows(arguments: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Any]:
    """Arguments of a call for some of its prompts: lists with one entry a prompt are cut, the rest stays."""
    count = len(arguments["prompt"])
    return {
        name: [value[i] for i in chosen] if isinstance(value, list) and len(value) == count else value
        for name, value in arguments.items()
    }


def denoiser_name(pipe: Any) -> str:
    """What the pipeline calls its denoiser: ``unet`` or ``transformer``; empty where it has neither."""
    return next((name for name in ("unet", "transformer") if getattr(pipe, name, None) is not None), "")


def with_denoiser(model: TextToImageModel, changed: Mapping[str, Tensor]) -> TextToImageModel:
    """The model with a denoiser of its own: a copy of the first one with some tensors replaced.

    Args:
        changed: by name in the denoiser's state.
    """
    pipe = copy.copy(model.pipeline())
    name = denoiser_name(pipe)
    denoiser = copy.deepcopy(getattr(pipe, name))
    own = denoiser.state_dict()
    for key, value in changed.items():
        own[key].copy_(value)
    setattr(pipe, name, denoiser)
    return replace(model, _pipeline=None, _parts={"pipeline": pipe})
