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
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..prompts.prompt_book import SafePrompt, UnsafePrompt
from ..results.rows import Label, Question, Trial, is_control
from .own_prompts import OwnPrompt
from .set_sizes import ATTACKED, NEGATIVE_SETS, POLICY_SETS

if TYPE_CHECKING:
    from ..policy import Policy
    from ..prompts import PromptBook
    from ..prompts.prompt_book import Split

T = TypeVar("T")
NEGATIVE_WORDS = 6
CanTell = Callable[[str], bool]
"""Whether a detector knows what a picture of a prompt should show."""


def anything(_: str) -> bool:
    """Where no detector is asked."""
    return True


@dataclass(frozen=True)
class Item:
    """One picture to make and score, for either model.

    ``cluster`` is what is not independent of each other: the synonym that a prompt uses; of a safe prompt
    whose synonym is not known, its group.
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
    guidance: float = 1.0
    """How often the guidance of the settings."""
    english: str = ""
    """What the prompt says, where it is in another language."""

    @property
    def caption(self) -> str:
        """What judges of kept are asked about, in English."""
        return self.english or self.prompt

    @property
    def is_control(self) -> bool:
        """Whether the anchor stands where the unsafe prompt was; drawn by the undefended model alone."""
        return is_control(self.set)

    @property
    def asks_kept(self) -> bool:
        """Whether its picture should show all that its prompt names."""
        return self.label != "unsafe" and not self.is_control

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
            self.guidance,
        )

    @property
    def trial(self) -> Trial:
        """As its row will say it: what tries at one thing share."""
        given = "" if self.origin is not None else self.negative_prompt
        return (self.set, self.origin or self.prompt, given, self.seed, self.anchor, self.concept)


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


def _key(prompt: SafePrompt | UnsafePrompt) -> tuple[str, ...]:
    """What is not independent of each other: prompts of one synonym, of one group where none is known."""
    if isinstance(prompt, UnsafePrompt):
        return (prompt.concept, prompt.synonym)
    return (prompt.group, prompt.word) if prompt.word else (prompt.group or prompt.text,)


def cluster_of(prompt: SafePrompt | UnsafePrompt) -> str:
    """Name of the cluster that a prompt belongs to, e.g. ``weapon/dagger`` or ``clock/alarm clock``."""
    return "/".join(_key(prompt))


def _order(prompt: SafePrompt | UnsafePrompt) -> Hashable:
    key = _key(prompt)
    if isinstance(prompt, SafePrompt) and prompt.language != "en":
        return (*key, prompt.language)  # a scene is one cluster; each of its languages has its turn
    return key if len(key) > 1 else key[0]


def offered(test: Split, set_: str, can_tell: CanTell = anything) -> Sequence[SafePrompt | UnsafePrompt]:
    """All prompts of the test split that a set of the policy may draw on.

    Args:
        can_tell: safe prompts that none can tell are used only where there are no others.
    """
    pools: dict[str, Sequence[SafePrompt | UnsafePrompt]] = {
        "unsafe": test.unsafe,
        "negative_unsafe": test.unsafe,
        ATTACKED: test.unsafe,
        "safe": test.safe,
        "negative": test.safe,
        "safe_unseen": test.safe_unseen,
        "borderline": test.borderline,
    }
    pool = pools[set_]
    if pool is test.unsafe:
        return pool
    return [p for p in pool if can_tell(p.text)] or pool


def chosen(test: Split, set_: str, n: int, can_tell: CanTell = anything) -> list[SafePrompt | UnsafePrompt]:
    """The prompts of a set: up to ``n``, from all clusters in turn."""
    return spread(offered(test, set_, can_tell), n, _order, lambda p: p.text)


LABELS: Mapping[str, Label] = {"unsafe": "unsafe", "negative_unsafe": "unsafe", "borderline": "borderline"}


def _item(set_: str, prompt: SafePrompt | UnsafePrompt, seed: int, negative: str) -> Item:
    concept, anchor = (prompt.concept, prompt.anchor) if isinstance(prompt, UnsafePrompt) else (None, None)
    label = LABELS.get(set_, "safe")
    english = prompt.caption if isinstance(prompt, SafePrompt) and prompt.language != "en" else ""
    return Item(
        set_, prompt.text, seed, label, cluster_of(prompt), negative, concept, anchor, english=english
    )


def attacked_items(test: Split, n: int, seeds: Sequence[int]) -> list[Item]:
    """The plain unsafe pictures that attacks start from: up to ``n`` prompts, from all synonyms in turn; the
    first ones of the unsafe set wherever that is as large."""
    return [_item("unsafe", p, seed, "") for p in chosen(test, ATTACKED, n) for seed in seeds]


@dataclass(frozen=True)
class Choice:
    """How many pictures of what.

    Attributes:
        sizes: distinct prompts of each set; one that is absent, or has 0, is left out.
        seeds: picture seeds; every prompt is drawn with each.
        own: prompts of the user.
        guided: whether negative prompts reach the denoiser; without, the two negative sets are left out.
    """

    sizes: Mapping[str, int]
    seeds: Sequence[int] = (0,)
    own: Sequence[OwnPrompt] = ()
    guided: bool = True


def build_items(policy: Policy, book: PromptBook, choice: Choice, can_tell: CanTell = anything) -> list[Item]:
    """Every picture of a validation, in a fixed order.

    Args:
        can_tell: safe prompts that no detector can tell are used only where there are no others.
    """
    words = unsafe_words(policy)
    items: list[Item] = []
    for name in POLICY_SETS:
        negative = words if name in NEGATIVE_SETS else ""
        if name in NEGATIVE_SETS and not (choice.guided and words):
            continue
        for prompt in chosen(book.test, name, choice.sizes.get(name, 0), can_tell):
            items += [_item(name, prompt, seed, negative) for seed in choice.seeds]
    items += [
        Item("custom", p.prompt, seed, p.label, p.prompt, "", p.concept)
        for p in choice.own
        for seed in choice.seeds
    ]
    return list(dict.fromkeys(items))
