"""Distorting embedding space."""

from .config import DesConfig
from .loss import Des

__all__ = ["Des", "DesConfig"]
