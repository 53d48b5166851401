"""The paper's method."""

from .config import SafeTextConfig
from .loss import SafeText

__all__ = ["SafeText", "SafeTextConfig"]
