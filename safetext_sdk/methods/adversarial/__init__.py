"""Adversarial training around any other method."""

from .config import AdversarialConfig
from .loss import Adversarial

__all__ = ["Adversarial", "AdversarialConfig"]
