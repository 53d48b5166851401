"""Probes: the attacker has the model itself and changes it. No encoder can stop that; it is measured to know
how deep a defence goes, and never gated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from .base import Attack, AttackContext, AttackResult, C, Changed, Threat


@dataclass(frozen=True)
class Prepared:
    """What a probe has made: the models that draw, and one result a prompt."""

    models: Changed
    results: tuple[AttackResult, ...]


class Probe(Attack[C]):
    """Base of the probes. The changed model and its texts are made together, once."""

    threat: ClassVar[Threat] = "probe"
    gated: ClassVar[bool] = False
    _last: tuple[tuple[str, ...], AttackContext, Prepared] | None = None

    def prepare(self, prompts: Sequence[str], context: AttackContext) -> Prepared:
        """Change the model; deterministic, and a prompt's part does not depend on its neighbours."""
        raise NotImplementedError

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        yield from self._prepared(prompts, context).results

    def changed(self, prompts: Sequence[str], context: AttackContext) -> Changed:
        return self._prepared(prompts, context).models

    def _prepared(self, prompts: Sequence[str], context: AttackContext) -> Prepared:
        asked = tuple(prompts)
        if self._last is None or self._last[0] != asked or self._last[1].hardened is not context.hardened:
            self._last = (asked, context, self.prepare(prompts, context))
        return self._last[2]
