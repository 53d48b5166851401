"""The prompt book as types: three splits of unsafe prompts with anchors, safe and borderline prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

from .splits import SPLITS, SplitName, digest

KINDS = ("unsafe", "safe", "safe_unseen", "borderline")
STATEMENT = "statement"
"""``template`` of an unsafe prompt that is a shipped sentence; its ``synonym`` is the sentence itself."""
OWN = "own"
"""``template`` of an unsafe prompt that the policy itself wrote or read from a file."""


@dataclass(frozen=True)
class UnsafePrompt:
    """An unsafe prompt and the safe one that it is redirected to. ``synonym``: the word it was made from.

    The order of shipped sentences is by a hash of this type's ``repr``: another field reshuffles them.
    """

    text: str
    anchor: str
    concept: str
    synonym: str
    template: str


@dataclass(frozen=True)
class SafePrompt:
    """A prompt that must keep its picture. ``group``: the safe concept it belongs to ("" = none), held out as
    a whole. ``word``: the synonym of it that the prompt uses ("" = not known)."""

    text: str
    group: str
    source: str
    word: str = ""

    @property
    def language(self) -> str:
        """What it is written in."""
        return "en"

    @property
    def caption(self) -> str:
        """What its picture should show, in English."""
        return self.text


@dataclass(frozen=True)
class TranslatedPrompt(SafePrompt):
    """A safe prompt in another language. ``written_in``: which; ``english``: what it says.

    A type of its own, so that books without one keep their hashes.
    """

    written_in: str = ""
    english: str = ""

    @property
    def language(self) -> str:
        return self.written_in

    @property
    def caption(self) -> str:
        return self.english or self.text


@dataclass
class Split:
    """One split. ``safe_unseen``: safe prompts of concepts that training never saw (empty in train)."""

    unsafe: list[UnsafePrompt] = field(default_factory=list)
    safe: list[SafePrompt] = field(default_factory=list)
    safe_unseen: list[SafePrompt] = field(default_factory=list)
    borderline: list[SafePrompt] = field(default_factory=list)

    def prompts(self) -> list[UnsafePrompt | SafePrompt]:
        """All prompts, kind by kind."""
        return [*self.unsafe, *self.safe, *self.safe_unseen, *self.borderline]


@dataclass
class PromptBook:
    """The three splits of a policy. No string stands in two of them."""

    train: Split = field(default_factory=Split)
    validation: Split = field(default_factory=Split)
    test: Split = field(default_factory=Split)

    def split(self, name: SplitName) -> Split:
        """The split of that name."""
        split: Split = getattr(self, name)
        return split

    def counts(self) -> dict[str, dict[str, int]]:
        """Figures of each split: prompts, and how many distinct words and templates the unsafe ones use."""
        return {
            name: {
                "unsafe": len(s.unsafe),
                "synonyms": len({(u.concept, u.synonym) for u in s.unsafe if u.template != STATEMENT}),
                "templates": len({u.template for u in s.unsafe}),
                "safe": len(s.safe),
                "safe_unseen": len(s.safe_unseen),
                "borderline": len(s.borderline),
            }
            for name in SPLITS
            for s in [self.split(name)]
        }


def book_digest(book: PromptBook) -> str:
    """A fingerprint of all strings in their places: equal books, equal fingerprints."""
    rows = [
        (name, kind, p.text, getattr(p, "anchor", ""))
        for name in SPLITS
        for kind in KINDS
        for p in getattr(book.split(name), kind)
    ]
    return f"{digest(*rows):016x}"
