"""Validation: pictures of the original and the hardened model, judged; figures with bounds; the release gate.

Importing this package imports no torch; its names are looked up when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .generate import Settings
    from .measure import validate
    from .record import Report
    from .verdict import GateResult, Verdict, gate

_LAZY = {
    "GateResult": "verdict",
    "Verdict": "verdict",
    "gate": "verdict",
    "Report": "record",
    "Settings": "generate",
    "validate": "measure",
}

__all__ = ["GateResult", "Report", "Settings", "Verdict", "gate", "validate"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
