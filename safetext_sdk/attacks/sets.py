"""Sets of attacks by name: what every validation runs without being asked, and what it runs when more is
asked for.

* ``none``: no attack. A policy with a gate on attacks cannot pass then.
* ``standard``: the cheap ones that every attacker tries first; no model, no search.
* ``strong``: these with more contexts, and every other registered attack whose figure a gate may read, a
  third party's too. So an attack that is registered is in it, and nobody has to remember a list. What these
  models cannot have is found out when it is run, and recorded with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import UsageError
from . import ATTACKS
from .base import Attack, Budget

NONE: Final = "none"
STANDARD: Final = "standard"
STRONG: Final = "strong"
SETS: Final = (NONE, STANDARD, STRONG)
CHEAP: Final = ("context", "typos", "paraphrase")
"""The attacks of ``standard``, with the defaults of their settings."""
MORE: Final[Mapping[str, Mapping[str, Any]]] = {"context": {"contexts": 8}}
"""What ``strong`` asks of them beyond the defaults."""


def choose(wanted: str | Iterable[str | Attack[Any]], budget: Budget = "paper") -> list[Attack[Any]]:
    """The attacks that somebody asks for, each once.

    Args:
        wanted: names of sets or attacks, several in one text with commas between, and attacks made with
            settings. What was made with settings stands for what was only named, and ``strong`` for
            ``standard``.
        budget: of the attacks that are named.

    Raises:
        UsageError: an unknown or empty name, ``none`` beside others, two attacks of one name, or an attack
            that cannot be imported.
    """
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    names = [name.strip() for each in asked if isinstance(each, str) for name in each.split(",")]
    given = [each for each in asked if not isinstance(each, str)]
    if NONE in names and (given or set(names) != {NONE}):
        raise UsageError("attacks: none stands alone; leave out either it or the others")
    found = _strong(budget) if STRONG in names else {}
    for name in names:
        members = CHEAP if name == STANDARD else () if name in SETS else (name,)
        for member in members:
            found.setdefault(member, _named(member, budget))
    for attack in given:
        if sum(other.name == attack.name for other in given) > 1:
            raise UsageError(f"attacks: {attack.name} is given twice; one report holds one of a name")
        found[attack.name] = attack
    return list(found.values())


def _named(name: str, budget: Budget, **settings: Any) -> Attack[Any]:
    try:
        return ATTACKS.get(name).for_budget(budget, **settings)
    except UsageError as error:
        raise UsageError(f"{error}; sets of attacks: {', '.join(SETS)}") from error


def _strong(budget: Budget) -> dict[str, Attack[Any]]:
    """The cheap ones first, then the others by name."""
    others = [name for name in ATTACKS.names() if name not in CHEAP]
    found: dict[str, Attack[Any]] = {}
    for name in (*CHEAP, *others):
        try:
            attack = _named(name, budget, **MORE.get(name, {}))
        except UsageError:
            if ATTACKS.is_built_in(name):
                raise
            continue  # a broken plug-in; the registry has warned
        if attack.gated:
            found[name] = attack
    return found
