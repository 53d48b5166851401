"""Settings of plug-ins as pydantic models: frozen, closed to unknown fields, their complaints in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import UsageError


def as_typed(value: object) -> str:
    """A setting's value as one types it behind ``--set NAME=``; "" for one that is absent.

    >>> as_typed((3, 3, 1, 1)), as_typed(False), as_typed(None)
    ('[3, 3, 1, 1]', 'false', '')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(as_typed, value))}]"
    return "" if value is None else str(value)


class Settings(BaseModel):
    """Base of all settings: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


M = TypeVar("M", bound=BaseModel)


def checked(kind: type[M], values: Mapping[str, Any], what: str) -> M:
    """Build ``kind`` from plain values.

    Args:
        what: whose settings they are, for the message: ``"attack typos"``.

    Raises:
        UsageError: an unknown field, with the nearest ones, or a value out of range.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place, kind.model_fields, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(kind.model_fields)}"
            raise UsageError(f"{what} has no setting {place!r}; {hint}") from error
        raise UsageError(f"{what}, setting {place!r}: {first['msg']} (got {first.get('input')!r})") from error


def settings_of(kind: type[BaseModel], config: M | None, values: Mapping[str, Any], what: str) -> M:
    """The settings of a plug-in as its ``__init__`` takes them: made already, or by name.

    Args:
        kind: its ``Config``, which ``config`` is one of.
        what: whose settings they are: ``"attack typos"``.

    Raises:
        UsageError: both, an unknown setting, or a value out of range, with what is allowed.
    """
    if config is None:
        return cast(M, checked(kind, values, what))
    if values:
        raise UsageError(f"{what}: give a {type(config).__name__} or settings by name")
    return config
