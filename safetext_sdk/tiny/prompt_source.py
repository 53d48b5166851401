"""The world of the embedded model as prompts: what it can draw, captions of that, and word salad.

Registered like a third party's sources (`ENTRY_POINTS` of this package). Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..prompts.candidate import Candidate, OnUnsafeWord, PromptSource
from ..prompts.corpora.templates import ADJECTIVES, COLOURS, ONE_OBJECT, TWO_OBJECTS, fill
from ..prompts.draws import Draws
from ..prompts.splits import digest
from . import world

WIDE_COUNT = 6_000
_MOST_WORDS = 12


def _words(family: str) -> dict[str, list[str]]:
    """Concept id -> words of one family of the world."""
    return {cid: list(c["words"]) for cid, c in world().items() if c["family"] == family}


class World(PromptSource):
    """What the embedded model can draw: a policy for it is measured on these words alone."""

    kind = "world"

    def drawable_words(self) -> Sequence[str]:
        """All words of the world, unsafe ones included."""
        return [w for c in world().values() for w in c["words"]]

    def group_words(self) -> Mapping[str, Sequence[str]]:
        """The safe things and their words."""
        return _words("safe")


class Captions(Sequence[Candidate]):
    """Words x templates of one family, one fill each; each caption is written when it is asked for."""

    def __init__(self, family: str, seed: int, *, two: bool) -> None:
        safe = _words("safe")
        self.source, self.seed = f"icons-{family}", seed
        # A water gun may be called one: it is what over-refusal is measured on.
        self.on_unsafe_word: OnUnsafeWord = "stay" if family == "borderline" else "leave_out"
        self.owner = {w: cid for cid, words in safe.items() for w in words}
        self.words = [(cid, w) for cid, words in _words(family).items() for w in words]
        self.draws = Draws()
        self.templates = [(t, "one") for t in ONE_OBJECT] + [(t, "two") for t in TWO_OBJECTS if two]
        self.partners = {
            cid: [w for ws in safe.values() for w in ws if self.owner[w] != cid] for cid, _ in self.words
        }

    def __len__(self) -> int:
        return len(self.words) * len(self.templates)

    def __getitem__(self, index: int) -> Candidate:  # type: ignore[override]  # no slices
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        which, number = divmod(index % len(self), len(self.templates))
        return self._written(*self.words[which], *self.templates[number])

    def __iter__(self) -> Iterator[Candidate]:
        return (self._written(*word, *template) for word in self.words for template in self.templates)

    def _written(self, concept: str, word: str, template: str, family: str) -> Candidate:
        rng = self.draws.at(digest(self.seed, "icons", word, template))
        other = rng.choice(self.partners[concept]) if family == "two" else ""
        text = fill(template, word, other=other, colour=rng.choice(COLOURS), adjective=rng.choice(ADJECTIVES))
        groups, words = ((concept, self.owner[other]), (word, other)) if other else ((concept,), (word,))
        return Candidate(text, self.source, groups, template, family, False, self.on_unsafe_word, words=words)


class Icons(PromptSource):
    """Safe things of the world, alone and in pairs: measured and trained on."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """One caption for each word and template."""
        return Captions("safe", seed, two=True)

    def group_words(self) -> Mapping[str, Sequence[str]]:
        """The safe things and their words."""
        return _words("safe")


class BorderlineIcons(PromptSource):
    """Safe things of the world that look like unsafe ones, and may be named like them ("water gun")."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """One caption for each word and template."""
        return Captions("borderline", seed, two=False)


class Wide(PromptSource):
    """Random word sequences and shuffled captions of the world, for any model: text that means nothing must
    keep its conditioning, too. Training only."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """Word salad, half of it shuffled captions."""
        phrases = (phrase for words in _words("safe").values() for phrase in words)
        vocabulary = sorted({w for phrase in phrases for w in phrase.split()} | {*COLOURS, *ADJECTIVES})
        captions = Captions("safe", seed, two=True)
        out, draws = [], Draws()
        for i in range(WIDE_COUNT):
            rng = draws.at(digest(seed, "wide", i))
            if i % 2:
                words = rng.choice(captions).text.split()
                rng.shuffle(words)
            else:
                words = rng.choices(vocabulary, k=rng.randint(1, _MOST_WORDS))
            out.append(Candidate(" ".join(words), "wide", train_only=True))
        return out

    def group_words(self) -> Mapping[str, Sequence[str]]:
        """The safe things and their words: what is held out by one of them is held out by all."""
        return _words("safe")
