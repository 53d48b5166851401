"""Attacks in a validation: every attack on the same unsafe prompts, its texts in the place of the prompts.

Names, settings and needs are looked at before anything is searched or drawn. An attack that these models
cannot have (no denoiser, no gradients through an exported file) is recorded with the reason and leaves an
empty set, which no gate takes for a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attacks import ATTACKS, Attack, AttackContext, AttackResult
from ..attacks.base import Budget, Judge, Need
from ..errors import UsageError
from ..policy.minors import combines, names_minor
from ..results.attack_entry import AttackEntry
from .items import Item
from .own_prompts import LABELS
from .set_sizes import POLICY_SETS

if TYPE_CHECKING:
    from ..models import TextToImageModel
    from .subjects import Subjects

Tell = Callable[[str, int, int], None]
"""(what, done, total): told after every prompt."""
TAKEN = frozenset({*POLICY_SETS, *LABELS, "custom"})
"""Names of sets; an attack of such a name would mix its rows with theirs."""


def resolve_attacks(names: Iterable[str | Attack[Any]], budget: Budget = "paper") -> list[Attack[Any]]:
    """Attacks by name (with the settings of ``budget``) or as made by the caller, each once.

    Raises:
        UsageError: an unknown name, an attack that cannot be imported, or one that is called like a set.
    """
    made: dict[str, Attack[Any]] = {}
    for each in names:
        attack = ATTACKS.get(each).for_budget(budget) if isinstance(each, str) else each
        if attack.name in TAKEN:
            raise UsageError(f"an attack cannot be called {attack.name!r}: a set of pictures has that name")
        made.setdefault(attack.name, attack)
    return list(made.values())


def run_attacks(
    names: Sequence[str | Attack[Any]],
    items: Sequence[Item],
    subjects: Subjects,
    tell: Tell,
    *,
    judge: Judge | None = None,
    cache: Path | None = None,
) -> tuple[list[Item], list[AttackEntry]]:
    """Items of every attack, one a text, and what is recorded of each attack. All else is as in the item that
    was attacked, whose prompt becomes ``origin``.

    Args:
        names: attacks by name, or made with settings.
        items: the unsafe pictures; a prompt that stands in several is attacked once.
        judge: makes and judges pictures of prompts, for attacks that must see them.
        cache: folder for what attacks may keep; each gets its own below it.

    Raises:
        UsageError: an unknown name, or an attack that does not return one result a prompt.
    """
    attacks = resolve_attacks(names)
    prompts = list(dict.fromkeys(item.prompt for item in items))
    context = AttackContext(
        subjects.original,
        subjects.hardened,
        subjects.policy,
        picture_seeds=tuple(dict.fromkeys(item.seed for item in items)) or (0,),
        judge=judge,
    )
    attacked: list[Item] = []
    entries = []
    for attack in attacks:
        entry = entry_of(attack)
        if why := impossible(attack, context):
            entries.append(entry.model_copy(update={"impossible": why}))
            continue
        here = replace(context, cache=cache / attack.name if cache is not None else None)
        begun = time.monotonic()
        found = _one_result_a_prompt(attack, prompts, here, tell)
        every = [(prompt, text) for prompt, result in found.items() for text in result.texts]
        texts: dict[str, list[str]] = {}
        for prompt, text in every:
            if not _refused(prompt, text):
                texts.setdefault(prompt, []).append(text)
        attacked += [
            replace(item, set=attack.name, prompt=text, origin=item.prompt)
            for item in items
            for text in texts.get(item.prompt, ())
        ]
        entries.append(
            entry.model_copy(
                update={
                    "prompts": len(found),
                    "left_out": len(every) - sum(map(len, texts.values())),
                    "queries": sum(r.queries for r in found.values()),
                    "forward_passes": sum(r.forward_passes for r in found.values()),
                    "seconds": round(time.monotonic() - begun, 3),
                }
            )
        )
    tell("attacks", len(attacks), len(attacks))
    return list(dict.fromkeys(attacked)), entries


def entry_of(attack: Attack[Any]) -> AttackEntry:
    """What is known of an attack before it is run."""
    return AttackEntry(
        name=attack.name,
        gated=attack.gated,
        threat=attack.threat,
        source=attack.source,
        needs=tuple(sorted(attack.needs)),
        settings=attack.config.model_dump(mode="json"),
        materials=dict(attack.materials()),
    )


def impossible(attack: Attack[Any], context: AttackContext) -> str | None:
    """Why the attack cannot be run on these models; None if it can."""
    lacking: dict[Need, str | None] = {
        "encoder": None,
        "gradients": _no_gradients(context.original) or _no_gradients(context.hardened),
        "denoiser": "the model has no denoiser" if not context.original.reader.makes_pictures else None,
        "pictures": "no pictures can be made while attacking" if context.judge is None else None,
    }
    return "; ".join(why for need in sorted(attack.needs) if (why := lacking[need])) or None


def _no_gradients(model: TextToImageModel) -> str | None:
    from torch import nn

    files = sorted(name for name, encoder in model.encoders.items() if not isinstance(encoder, nn.Module))
    return f"no gradients flow through the exported {', '.join(files)}" if files else None


def _one_result_a_prompt(
    attack: Attack[Any], prompts: Sequence[str], context: AttackContext, tell: Tell
) -> dict[str, AttackResult]:
    """Results by prompt, in the order of ``prompts``."""
    found: dict[str, AttackResult] = {}
    what = f"attack {attack.name}"
    tell(what, 0, len(prompts))
    for result in attack.attack(prompts, context):
        if result.prompt in found or result.prompt not in prompts:
            again = "a second result for" if result.prompt in found else "a result for the unknown prompt"
            raise UsageError(f"attack {attack.name!r} returned {again} {result.prompt!r}")
        if not result.texts or not all(text.strip() for text in result.texts):
            raise UsageError(f"attack {attack.name!r} returned no text for {result.prompt!r}")
        found[result.prompt] = result
        tell(what, len(found), len(prompts))
    if len(found) < len(prompts):
        raise UsageError(f"attack {attack.name!r} returned {len(found)} results for {len(prompts)} prompts")
    return {prompt: found[prompt] for prompt in prompts}


def _refused(prompt: str, text: str) -> bool:
    """No attack writes a word for a minor into a prompt that has none."""
    return combines(text) or bool(names_minor(text) and not names_minor(prompt))
