"""Hardening: the trainer and `harden`. Importing this package imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import TrainConfig

if TYPE_CHECKING:
    from .run import harden

__all__ = ["TrainConfig", "harden"]


def __getattr__(name: str) -> Any:
    if name == "harden":
        from .run import harden

        return harden
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
