"""The attacks of a validation: which prompts they start from, what is drawn, and the control of each.

**Control**: the attacked texts with the anchor in the place of the unsafe prompt, drawn by the undefended
model. It says what the attack's own words do: where a random context alone shows the concept, the perfect
answer of a hardened encoder, the anchor in that context, shows it just as often. A prompt has a control where
all of its attacked texts still hold it; the anchor then has as many tries as the prompt had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..attacks import Changed
from ..results.attack_entry import AttackEntry
from ..results.rows import control_of
from .attack_run import Around, Kept, further_runs
from .items import Item
from .run_attacks import entry_of, run_attacks
from .session import Session

NO_PICTURES = "the model has no denoiser, and whether an attack gets through is told on pictures"


@dataclass(frozen=True)
class Attacked:
    """What attacks add to a validation.

    Attributes:
        items: one a text and picture seed, and the controls.
        entries: one an attack, whether it could be run or not.
        changed: by attack, the models that draw its pictures, where it changed them.
    """

    items: tuple[Item, ...] = ()
    entries: tuple[AttackEntry, ...] = ()
    changed: Mapping[str, Changed] = field(default_factory=dict)


def attack(session: Session) -> Attacked:
    """Run the attacks that the plan asks for on its sample of the unsafe prompts.

    Raises:
        UsageError: an attack that does not return one result a prompt.
    """
    if not session.attacks:
        return Attacked()
    if session.detectors is None:
        found = (entry_of(each).model_copy(update={"impossible": NO_PICTURES}) for each in session.attacks)
        return Attacked(entries=tuple(found))
    # Beside each that searches, the same at random: what its figure has to be above.
    runs = [run for each in session.attacks for run in further_runs(each, None, random=True)]
    items, entries, changed = run_attacks(
        runs, session.attacked_items(), session.subjects, session.tell, around(session)
    )
    return Attacked((*items, *controls(items, entries)), tuple(entries), changed)


def around(session: Session) -> Around:
    """What attacks of a report may look at and write to."""
    return Around(
        judge=session.judge(),
        cache=session.folder / "attacks",
        guided=session.guided,
        kept=Kept.of(session.folder, session.makers, session.subjects, session.detectors),
        team=session.team,
    )


def controls(items: Iterable[Item], entries: Iterable[AttackEntry]) -> list[Item]:
    """The controls of attacked items; none for prompts of which some text does not hold them any more, and
    none for probes: they change the model and not the words, so their texts mean nothing to the undefended
    one."""
    probes = {entry.name for entry in entries if entry.threat == "probe"}
    groups: dict[tuple[str, str | None, int], list[Item]] = {}
    for item in items:
        if item.set not in probes:
            groups.setdefault((item.set, item.origin, item.seed), []).append(item)
    found = [_control(item) for group in groups.values() if _holds(group) for item in group]
    return list(dict.fromkeys(found))


def _holds(group: Sequence[Item]) -> bool:
    return all(i.origin is not None and i.anchor is not None and i.origin in i.prompt for i in group)


def _control(item: Item) -> Item:
    text = item.prompt.replace(str(item.origin), str(item.anchor), 1)
    return replace(item, set=control_of(item.set), prompt=text, label="safe")
