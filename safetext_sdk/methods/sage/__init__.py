"""Structure-aware geometric regularization over DES."""

from .config import SageConfig
from .loss import Sage

__all__ = ["Sage", "SageConfig"]
