"""Which pictures a validation makes: prompts of the policy's test split, prompts of the user, and unsafe
words in the negative prompt.

| set | prompts | asks |
|---|---|---|
| unsafe | held-out unsafe prompts | does the concept still appear? does the anchor? |
| safe | safe prompts of the test split | does the picture still show what its prompt names? |
| safe_unseen | safe concepts that hardening never saw | the same |
| borderline | safe prompts that look unsafe | are they left alone? |
| negative | safe prompts, unsafe words in the negative prompt | is the picture still that of its prompt? |
| negative_unsafe | unsafe prompts, unsafe words in the negative prompt | does that undo the redirection? |
| custom | the user's own | by the label of each |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..results.rows import Label, Question
from .own_prompts import OwnPrompt

if TYPE_CHECKING:
    from ..policy import Policy
    from ..prompts import PromptBook, SafePrompt, UnsafePrompt

T = TypeVar("T")
POLICY_SETS = ("unsafe", "safe", "safe_unseen", "borderline", "negative", "negative_unsafe")
NEGATIVE_SETS = ("negative", "negative_unsafe")
NEGATIVE_WORDS = 6


@dataclass(frozen=True)
class Item:
    """One picture to make and score, for either model.

    ``cluster`` is what is not independent of each other: the synonym of an unsafe prompt, the group of a safe
    one.
    """

    set: str
    prompt: str
    seed: int
    label: Label
    cluster: str
    negative_prompt: str = ""
    concept: str | None = None
    anchor: str | None = None
    origin: str | None = None
    """The prompt that an attack turned into ``prompt``; several of its texts may share one."""

    @property
    def question(self) -> Question:
        """As its row will say it: what makes two pictures answers to the same question."""
        return (
            self.set,
            self.prompt,
            self.negative_prompt,
            self.seed,
            self.anchor,
            self.concept,
            self.origin,
        )


def _rank(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def spread(items: Iterable[T], n: int, group: Callable[[T], Hashable], text: Callable[[T], str]) -> list[T]:
    """Up to ``n`` items with distinct text, taken from the groups in turn; which ones is decided by hash, so
    it never changes."""
    pools: dict[Hashable, list[T]] = {}
    for item in {text(i): i for i in items}.values():
        pools.setdefault(group(item), []).append(item)
    for pool in pools.values():
        pool.sort(key=lambda i: _rank(text(i)), reverse=True)
    order = sorted(pools, key=_rank)
    out: list[T] = []
    while len(out) < n and any(pools[g] for g in order):
        for g in order:
            if pools[g] and len(out) < n:
                out.append(pools[g].pop())
    return out


def unsafe_words(policy: Policy, limit: int = NEGATIVE_WORDS) -> str:
    """The policy's first terms, as a person would write them into a negative prompt: "gun, rifle, knife"."""
    terms = [list(c.terms) for c in policy.concepts]
    woven = [column[i] for i in range(max(map(len, terms), default=0)) for column in terms if i < len(column)]
    return ", ".join(dict.fromkeys(woven[:limit]))


def _safe(
    name: str, label: Label, prompts: Sequence[SafePrompt], n: int, seeds: Sequence[int], negative: str = ""
) -> list[Item]:
    chosen = spread(prompts, n, lambda p: p.group or p.text, lambda p: p.text)
    return [Item(name, p.text, seed, label, p.group or p.text, negative) for p in chosen for seed in seeds]


def _unsafe(
    name: str, prompts: Sequence[UnsafePrompt], n: int, seeds: Sequence[int], negative: str = ""
) -> list[Item]:
    chosen = spread(prompts, n, lambda p: (p.concept, p.synonym), lambda p: p.text)
    return [
        Item(name, p.text, seed, "unsafe", f"{p.concept}/{p.synonym}", negative, p.concept, p.anchor)
        for p in chosen
        for seed in seeds
    ]


@dataclass(frozen=True)
class Choice:
    """How many pictures of what.

    Attributes:
        n: distinct prompts a set (a quarter of it for the negative sets unless a gate reads one), or a number
            for each set (0 leaves it out).
        seeds: picture seeds; every prompt is drawn with each.
        own: prompts of the user.
        guided: whether negative prompts reach the denoiser; without, the two negative sets are left out.
        gated: sets that a gate of the policy reads.
    """

    n: int | Mapping[str, int] = 100
    seeds: Sequence[int] = (0,)
    own: Sequence[OwnPrompt] = ()
    guided: bool = True
    gated: Collection[str] = ()

    def counts(self) -> dict[str, int]:
        """Distinct prompts of every set."""
        if not isinstance(self.n, int):
            return {name: self.n.get(name, 100) for name in POLICY_SETS}
        count = dict.fromkeys(POLICY_SETS, self.n)
        if not set(NEGATIVE_SETS) & set(self.gated):
            # Reported and not gated: a quarter says enough, and every picture costs time.
            count |= dict.fromkeys(NEGATIVE_SETS, min(self.n, max(10, self.n // 4)))
        return count


def build_items(
    policy: Policy,
    book: PromptBook,
    choice: Choice,
    can_tell: Callable[[str], bool] = lambda _: True,
) -> list[Item]:
    """Every picture of a validation, in a fixed order.

    Args:
        can_tell: whether a detector knows what a picture of a prompt should show; safe prompts that none can
            tell are used only where there are no others.
    """
    count, seeds, test = choice.counts(), choice.seeds, book.test

    def told(prompts: Sequence[SafePrompt]) -> Sequence[SafePrompt]:
        return [p for p in prompts if can_tell(p.text)] or prompts

    items = _unsafe("unsafe", test.unsafe, count["unsafe"], seeds)
    items += _safe("safe", "safe", told(test.safe), count["safe"], seeds)
    items += _safe("safe_unseen", "safe", told(test.safe_unseen), count["safe_unseen"], seeds)
    items += _safe("borderline", "borderline", told(test.borderline), count["borderline"], seeds)
    words = unsafe_words(policy)
    if choice.guided and words:
        items += _safe("negative", "safe", told(test.safe), count["negative"], seeds, words)
        items += _unsafe("negative_unsafe", test.unsafe, count["negative_unsafe"], seeds, words)
    items += [
        Item("custom", p.prompt, seed, p.label, p.prompt, "", p.concept) for p in choice.own for seed in seeds
    ]
    return list(dict.fromkeys(items))
