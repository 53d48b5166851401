"""A policy of three words, and a context for attacks."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch

from safetext_sdk.attacks import Attack, AttackContext

PROMPTS = ["a gun on a table", "two knives beside an apple", "a war axe", "ein Messer"]
TERMS = ["gun", "knife", "war axe"]


def context(original: Any = None, hardened: Any = None, **extra: Any) -> AttackContext:
    policy: Any = SimpleNamespace(concepts=[SimpleNamespace(id="weapon", terms=TERMS, words=TERMS)])
    return AttackContext(original, hardened, policy, **extra)


def texts(attack: Attack[Any], prompts: list[str], where: AttackContext) -> list[str]:
    """The one text of each prompt, in the order of the prompts."""
    found = {result.prompt: result.texts for result in attack.attack(prompts, where)}
    return [text for prompt in prompts for (text,) in [found[prompt]]]


def shaken(model: Any, by: float = 0.05, encoder: str = "text_encoder") -> Any:
    """The model with noise on one of its text encoders: a stand-in for a hardened one."""
    changed = copy.deepcopy(model.encoders[encoder])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in changed.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * by)
    return model.with_encoders({encoder: changed})
