"""Attacks: code that turns an unsafe prompt into one that may still get through.

* An attack is one file with a subclass of `base.Attack` and one line below; a third party's is registered by
  an entry point of the group ``safetext.attacks``. Listing imports no torch.
* Its strength on the undefended model always stands beside its figure: an attack that breaks the picture
  there says nothing about the defence.
"""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .base import Attack, AttackConfig, AttackContext, AttackResult, Judged

ATTACKS: Registry[type[Attack[Any]]] = Registry("attack", "safetext.attacks")
ATTACKS.add(
    "context",
    f"{__name__}.context:Context",
    "random words before, after and around the prompt; no model needed",
)
ATTACKS.add(
    "typos",
    f"{__name__}.typos:Typos",
    "misspelt and homoglyph forms of the unsafe words; no model needed",
)
ATTACKS.add(
    "paraphrase",
    f"{__name__}.paraphrase:Paraphrase",
    "the request in other sentence forms and styles; no model needed",
)
ATTACKS.add(
    "random_suffix",
    f"{__name__}.random_suffix:RandomSuffix",
    "searches a suffix of random tokens that undoes the redirection; no gradients",
)
ATTACKS.add(
    "gcg-encoder",
    f"{__name__}.gcg_encoder:GcgEncoder",
    "a prefix found by gradients that brings the original conditioning back",
)

__all__ = ["ATTACKS", "Attack", "AttackConfig", "AttackContext", "AttackResult", "Judged"]
