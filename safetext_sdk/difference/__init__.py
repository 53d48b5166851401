"""Two validations of one model side by side: what changed, and whether that is more than noise."""

from __future__ import annotations

from .diff import diff

__all__ = ["diff"]
