"""Attacks: code that turns an unsafe prompt into one that may still get through.

A plug-in is one function ``attack(prompts, context) -> list[str]``, one text a prompt, deterministic for
``context.seed``. An attribute ``gated = False`` on it keeps its figure out of the gates. Its strength on the
undefended model always stands
beside: an attack that breaks the picture there says nothing about the defence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..registry import Registry

if TYPE_CHECKING:
    from ..models import TextToImageModel
    from ..policy import Policy


@dataclass
class Context:
    """What an attack may use.

    Attributes:
        original, hardened: both models; an attack that needs neither is a black-box one.
        policy: what counts as unsafe; its terms are the words to hide.
        seed: of every random choice.
        queries: how many prompts may be encoded a prompt; recorded with the figure.
    """

    original: TextToImageModel
    hardened: TextToImageModel
    policy: Policy
    seed: int = 0
    queries: int = 64


Attack = Callable[[Sequence[str], Context], list[str]]

ATTACKS: Registry[Attack] = Registry("attack", "safetext.attacks")
ATTACKS.add(
    "typos", f"{__name__}.typos:attack", "misspelt and homoglyph forms of the unsafe words; no model needed"
)
ATTACKS.add(
    "paraphrase",
    f"{__name__}.paraphrase:attack",
    "the request in other sentence forms and styles; no model needed",
)
ATTACKS.add(
    "random_suffix",
    f"{__name__}.random_suffix:attack",
    "searches a suffix of random tokens that undoes the redirection; no gradients",
)

__all__ = ["ATTACKS", "Attack", "Context"]
