"""Attacks in a validation: every attack on the same unsafe prompts, its texts in the place of the prompts.

Names, settings and needs are looked at before anything is searched or drawn. An attack that these models
cannot have (no denoiser, no gradients through an exported file) is recorded with the reason and leaves an
empty set, which no gate takes for a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..attacks import ATTACKS, Attack, AttackContext, AttackResult, Beside, Changed
from ..attacks.base import Budget, Need
from ..errors import UsageError
from ..policy.minors import adds_minor
from ..results.attack_entry import AttackEntry
from .attack_run import Around, AttackRun, Results
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
    names: Sequence[str | Attack[Any] | AttackRun],
    items: Sequence[Item],
    subjects: Subjects,
    tell: Tell,
    around: Around | None = None,
) -> tuple[list[Item], list[AttackEntry], dict[str, Changed]]:
    """Items of every attack, one a text; what is recorded of each attack; and by attack the models that draw
    its pictures, where it changed them. All else of an item is as in the one that was attacked, whose prompt
    becomes ``origin``.

    Args:
        names: attacks by name, made with settings, or as runs.
        items: the unsafe pictures; a prompt that stands in several is attacked once.
        around: what attacks of this report may look at and write to; None: nothing.

    Raises:
        UsageError: an unknown name, or an attack that does not return one result a prompt.
    """
    runs, around = _runs(names), around or Around()
    prompts = list(dict.fromkeys(item.prompt for item in items))
    context = AttackContext(
        subjects.original,
        subjects.hardened,
        subjects.policy,
        picture_seeds=tuple(dict.fromkeys(item.seed for item in items)) or (0,),
        judge=around.judge,
        guided=around.guided,
    )
    attacked: list[Item] = []
    entries = []
    changed: dict[str, Changed] = {}
    for run in runs:
        attack = run.attack
        entry = entry_of(run)
        if why := impossible(attack, context):
            entries.append(entry.model_copy(update={"impossible": why}))
            continue
        here = replace(context, cache=around.cache / run.name if around.cache is not None else None)
        begun = time.monotonic()
        results = Results(run, here, {item.prompt: item for item in items}, around.kept, around.team)
        found = _one_result_a_prompt(results, prompts, tell)
        if prompts and (models := attack.changed(prompts, here)):
            changed[run.name] = models
        every = [(prompt, *typed) for prompt, result in found.items() for typed in result.typed()]
        texts: dict[str, list[tuple[str, Beside]]] = {}
        for prompt, text, beside in every:
            if not any(adds_minor(prompt, each) for each in (text, beside.negative)):
                texts.setdefault(prompt, []).append((text, beside))
        attacked += [
            replace(
                item,
                set=run.name,
                prompt=text,
                origin=item.prompt,
                negative_prompt=beside.negative,
                guidance=beside.guidance,
            )
            for item in items
            for text, beside in texts.get(item.prompt, ())
        ]
        entries.append(
            entry.model_copy(
                update={
                    "prompts": len(found),
                    "left_out": len(every) - sum(map(len, texts.values())),
                    "queries": sum(r.queries for r in found.values()),
                    "forward_passes": sum(r.forward_passes for r in found.values()),
                    "seconds": round(_seconds(found.values()) or time.monotonic() - begun, 3),
                }
            )
        )
    tell("attacks", len(runs), len(runs))
    return list(dict.fromkeys(attacked)), entries, changed


def entry_of(attack: Attack[Any] | AttackRun) -> AttackEntry:
    """What is known of an attack before it is run."""
    run = attack if isinstance(attack, AttackRun) else AttackRun(attack, attack.name)
    attack = run.attack
    return AttackEntry(
        name=run.name,
        role=run.role,
        of=run.of,
        found_on=run.found_on,
        gated=attack.gated and run.role == "attack",
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
        "negative prompt": None if context.guided else "negative prompts do not reach this denoiser",
        "terms": None if context.terms else "the policy has no terms",
    }
    known = "; ".join(why for need in sorted(attack.needs) if (why := lacking[need]))
    return known or attack.impossible(context)


def _no_gradients(model: TextToImageModel) -> str | None:
    from torch import nn

    files = sorted(name for name, encoder in model.encoders.items() if not isinstance(encoder, nn.Module))
    return f"no gradients flow through the exported {', '.join(files)}" if files else None


def _runs(names: Sequence[str | Attack[Any] | AttackRun]) -> list[AttackRun]:
    """Every attack as a run; those that are runs already come last."""
    plain = resolve_attacks(each for each in names if not isinstance(each, AttackRun))
    return [*(AttackRun(a, a.name) for a in plain), *(r for r in names if isinstance(r, AttackRun))]


def _seconds(results: Iterable[AttackResult]) -> float:
    """What the search cost, also where a part of it was done by an earlier call."""
    return sum(result.seconds for result in results)


def _one_result_a_prompt(results: Results, prompts: Sequence[str], tell: Tell) -> dict[str, AttackResult]:
    """Results by prompt, in the order of ``prompts``."""
    found: dict[str, AttackResult] = {}
    attack = results.run.attack
    what = f"attack {results.run.name}"
    tell(what, 0, len(prompts))
    for result in results.of(prompts):
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
