"""Redirection to anchor prompts, the default method."""

from .config import AnchorConfig
from .loss import Anchor

__all__ = ["Anchor", "AnchorConfig"]
