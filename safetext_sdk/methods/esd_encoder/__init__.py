"""ESD's noise target, reached by the text encoder."""

from .config import EsdEncoderConfig
from .loss import EsdEncoder

__all__ = ["EsdEncoder", "EsdEncoderConfig"]
