"""Texts beside the prompt book's, for what a run asks for by shares (`settings.PAIR_SHARES`, `SAFE_SHARES`).

Nothing that measures is read here: no word that the book holds out, no text and no word of a safe concept
that only stands in validation or test, and none of the words that the attack ``context`` draws from.
Captions that name a minor take no part in insertions, whatever the concept, and stand beside no prompt.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..attacks.context import context_words
from ..methods.prompt_table import Pair
from ..policy.minors import combines, names_minor, names_sexual
from ..prompts.corpora.negative_prompts import MORE_NEGATIVES
from ..prompts.insertion import ConceptWord, concept_insertions, harmless_insertions
from ..prompts.prompt_book import STATEMENT
from ..prompts.random_words import SHORT, Places, RandomWords, WordPieces
from ..prompts.splits import by_hash
from ..prompts.surroundings import Surrounder, shipped_requests, shipped_styles, surrounded
from ..prompts.words import Inflected, WholeWords, letter_words, tokens_of
from .look_alikes import MadeUpWords
from .random_texts import RandomTexts
from .retain_set import SafeText, harmless_words, hidden_words, unsafe_words
from .settings import PAIR_SHARES, TrainConfig

if TYPE_CHECKING:
    from ..policy import Policy
    from ..prompts import PromptBook
    from .assemble import HardeningPlan

MOST = 20_000
"""Texts of one source at most; a run that reads more of them reads some again."""
_NEVER = frozenset(context_words())
_USE_CHANCE = frozenset(("random_words", "look_alikes", "term_lists", "safe_random_words", "unlike_words"))
"""Settings whose texts have random or made-up words."""
_MADE_UP = 2000
"""Made-up words that are read."""
_READ_BESIDE = 400
"""Names of safe things that they are compared with, at most."""
_FEWEST = 50
"""With fewer captions of one thing than this, all words of captions are taken for such names."""
_ONE_THING = re.compile(
    r"^an? (?:picture|image|photo|drawing|icon|sketch|painting|symbol) of an? (\w+(?: \w+)?)$"
)
"""Captions of one thing by itself: what the model surely knows. What it does not know it takes for something
else, so any word of a caption does worse on a model that knows few."""

Read = Callable[[Sequence[str], Sequence[str], Sequence[str]], MadeUpWords]
"""(made-up words, concepts' words, safe words) -> the made-up ones by what the original reads in them."""
_SHORT = 14
"""Words of a caption that stands beside a prompt, at most."""
_CAPTION = 3
"""Words of a caption at least."""
_NO_CAPTIONS = frozenset(("anchor", "negative"))
"""Sources of a book's safe prompts that are no captions of pictures."""


@dataclass(frozen=True)
class FurtherTexts:
    """Pairs and safe texts to be added to the book's; ``Pair.source`` and ``SafeText.kind`` are the names of
    the settings that asked for them."""

    pairs: Sequence[Pair] = ()
    safe: Sequence[SafeText] = ()


def book_pairs(book: PromptBook) -> list[Pair]:
    """The unsafe prompts of training with their anchors; the source of shipped pairs is ``statements``."""
    return [
        Pair(p.text, p.anchor, p.concept, "statements" if p.template == STATEMENT else "")
        for p in book.train.unsafe
    ]


def never_read(book: PromptBook, policy: Policy) -> frozenset[str]:
    """Words that no text of training may gain by a search or a draw: those of the concepts, those that only
    held-out safe prompts have, and those that the attack ``context`` draws from."""
    named = letter_words(word for concept in policy.concepts for word in concept.words)
    return frozenset(w.casefold() for w in (*named, *hidden_words(book), *_NEVER))


def further_texts(
    book: PromptBook,
    policy: Policy,
    safe: Sequence[SafeText],
    tokenizer: Any,
    plan: HardeningPlan,
    read: Read | None = None,
) -> FurtherTexts:
    """What the shares of ``plan.train`` ask for, each as many texts as the run reads, up to `MOST`.

    A share for which nothing can be written (no captions, no words) stays empty: its draws are the book's.

    Args:
        book: the expanded prompts; only its training split is used, the others' words are kept out.
        policy: for its concepts.
        safe: the retain set.
        tokenizer: of the first encoder; its vocabulary gives words.
        plan: settings and seed of the run.
        read: sorts made-up words by what the original reads in them, see `look_alikes.sorted_by_reading`;
            None = no such words.
    """
    train, shares = plan.train, plan.train.further_shares
    if not shares:
        return FurtherTexts()
    writer = _Writer.of(book, policy, tokenizer, plan.seed)
    chance = None
    if _USE_CHANCE & set(shares):
        chance = writer.random_texts(book, WordPieces.of(tokenizer), train.word_places, read)
    pairs: list[Pair] = []
    texts: list[SafeText] = []
    for name, share in shares.items():
        size = train.batch_size if name in PAIR_SHARES else train.safe_size
        count = min(MOST, math.ceil(share * size * train.steps))
        if name == "statements":
            continue  # the book's own
        if name == "surroundings":
            pairs += writer.pairs_in_surroundings(book_pairs(book), count)
        elif name == "insertions":
            pairs += writer.pairs_by_insertion(count)
        elif name == "harmless_insertions":
            texts += writer.kept_insertions(count)
        elif chance is not None and name in _USE_CHANCE:
            found = _by_chance(chance, name, count, safe, train)
            pairs, texts = [*pairs, *found.pairs], [*texts, *found.safe]
        else:
            borderline = name == "borderline_surroundings"
            kept = [s.text for s in safe if (s.kind == "borderline" if borderline else _is_long(s))]
            texts += writer.kept_in_surroundings(name, kept, count)
    return FurtherTexts(pairs, texts)


def _by_chance(
    writer: RandomTexts, name: str, count: int, safe: Sequence[SafeText], train: TrainConfig
) -> FurtherTexts:
    """The texts of one share that has random or made-up words."""
    if name == "random_words":
        return FurtherTexts(writer.in_random_words(count, train.bare_anchors))
    if name == "look_alikes":
        return FurtherTexts(writer.look_alikes(count))
    if name == "term_lists":
        return FurtherTexts(writer.term_lists(count, train.list_strength, MORE_NEGATIVES))
    if name == "safe_random_words":
        kept = [s.text for s in safe if s.kind not in ("negative", "random") and _is_long(s)]
        return FurtherTexts(safe=writer.kept_in_random_words(kept, count))
    return FurtherTexts(safe=writer.unlike(count))


@dataclass(frozen=True)
class _Writer:
    """What texts are made of, and what may stand in them.

    ``unsafe``: finds what the concepts are called. ``captions``: safe, of pictures. ``near``: words of what
    looks unsafe and is not. ``vocabulary``: harmless words of the tokenizer. ``words``: the concepts' words
    in training. ``held``: finds words and safe concepts that the book holds out. ``hidden``: words that only
    held-out safe prompts have. ``measured``: casefolded texts of validation and test.
    """

    unsafe: Inflected
    captions: Sequence[str]
    near: Sequence[str]
    vocabulary: Sequence[str]
    words: Sequence[ConceptWord]
    held: WholeWords
    hidden: set[str]
    measured: set[str]
    seed: int

    @staticmethod
    def of(book: PromptBook, policy: Policy, tokenizer: Any, seed: int) -> _Writer:
        unsafe = unsafe_words(policy)

        def usable(text: str) -> bool:
            if not _NEVER.isdisjoint(tokens_of(text)) or unsafe.found_in(text):
                return False
            return names_minor(text) is None and names_sexual(text) is None

        captions = [
            p.text
            for p in book.train.safe
            if p.source not in _NO_CAPTIONS and len(p.text.split()) >= _CAPTION and usable(p.text)
        ]
        near = [t for concept in policy.concepts for t in concept.near_misses]
        near += sorted(w for w in letter_words(p.text for p in book.train.borderline) if len(w) > _CAPTION)
        hidden = hidden_words(book)
        measured = [p for split in (book.validation, book.test) for p in split.prompts()]
        return _Writer(
            unsafe=unsafe,
            captions=captions,
            near=[w for w in near if usable(w) and hidden.isdisjoint(tokens_of(w))],
            vocabulary=[w for w in harmless_words(book, unsafe, tokenizer) if usable(w)],
            words=_training_words(book, policy),
            held=_held_out(book),
            hidden=hidden,
            measured={p.text.casefold() for p in measured},
            seed=seed,
        )

    def pairs_in_surroundings(self, pairs: Sequence[Pair], count: int) -> list[Pair]:
        """Pairs with the same surroundings on both sides."""
        rows = [(pair.unsafe, pair.anchor) for pair in pairs]
        found = surrounded(rows, self._surrounder(), count, allowed=self._may_stand, seed=self.seed)
        return [Pair(f.texts[0], f.texts[1], pairs[f.row].concept, "surroundings") for f in found]

    def kept_in_surroundings(self, kind: str, texts: Sequence[str], count: int) -> list[SafeText]:
        """Safe texts in surroundings."""
        rows, seed = [(text,) for text in texts], f"{self.seed}/{kind}"
        found = surrounded(rows, self._surrounder(), count, allowed=self._may_stand, seed=seed)
        return [SafeText(f.texts[0], kind) for f in found]

    def pairs_by_insertion(self, count: int) -> list[Pair]:
        """Captions with a concept's word, and the captions as anchors."""
        found = concept_insertions(
            self.words, self.captions, count, allowed=self._names_no_minor, seed=self.seed
        )
        return [Pair(f.text, f.caption, f.word.concept, "insertions") for f in found]

    def kept_insertions(self, count: int) -> list[SafeText]:
        """Captions with a harmless word."""
        words = sorted(w for w in letter_words(self.captions) if len(w) >= _CAPTION)
        words += [*self.near, *self.vocabulary[::3]]

        def allowed(text: str) -> bool:
            return self._names_no_minor(text) and not self.unsafe.found_in(text)

        found = harmless_insertions(words, self.captions, count, allowed=allowed, seed=self.seed)
        return [SafeText(text, "harmless_insertions") for text in found]

    def random_texts(
        self, book: PromptBook, pieces: WordPieces, places: Places, read: Read | None
    ) -> RandomTexts:
        """Writer of texts with random and made-up words."""
        kinds = {word.text: word for word in self.words}
        rows = [r for r in book.train.unsafe if r.synonym in kinds and r.template != STATEMENT]
        known = sorted(w for w in letter_words(self.captions) if len(w) >= _CAPTION)
        known = [w for w in known if w not in self.hidden and not self.unsafe.found_in(w)]
        rng, made = random.Random(f"{self.seed}/made up"), dict[str, None]()
        for _ in range(_MADE_UP if read else 0):
            word = pieces.made_up(rng, SHORT)
            if word and word not in self.hidden and self._names_no_minor(word):
                made.setdefault(word)
        subjects = [m[1] for m in map(_ONE_THING.match, self.captions) if m and self._names_no_minor(m[1])]
        subjects = subjects if len(subjects) >= _FEWEST else known
        subjects = by_hash(subjects, self.seed, "read")[:_READ_BESIDE]
        objects = [word.text for word in self.words if word.kind == "object" and word.english]
        # Concepts' words of several languages and states ("bleeding") do not fit the frames of things.
        found = read(list(made), objects, subjects) if read and objects else MadeUpWords()
        words = RandomWords(
            pieces=pieces,
            known=known,
            whole=[w for w in self.vocabulary if self._names_no_minor(w)],
            risky=[*found.risky, *objects] if found.risky else [],
            allowed=lambda word: word not in self.hidden and word not in _NEVER,
            places=places,
        )
        return RandomTexts(words, found, rows, self._names_no_minor, self.seed)

    def _surrounder(self) -> Surrounder:
        def usable(text: str) -> bool:
            return not self.unsafe.found_in(text) and self.hidden.isdisjoint(letter_words([text]))

        return Surrounder(
            captions=[c for c in self.captions if len(c.split()) <= _SHORT],
            words=self.vocabulary,
            requests=[t for t in shipped_requests() if usable(t)],
            styles=[t for t in shipped_styles() if usable(t)],
        )

    def _may_stand(self, text: str) -> bool:
        """Words that meet at a seam must make nothing that is held out or that no policy may hold, and what
        stands in the surroundings may have words of the attack (random texts of the retain set do)."""
        if combines(text) or self.held.search(text) is not None or text.casefold() in self.measured:
            return False
        return _NEVER.isdisjoint(tokens_of(text))

    def _names_no_minor(self, text: str) -> bool:
        return names_minor(text) is None and self._may_stand(text)


def _is_long(text: SafeText) -> bool:
    return text.kind not in ("empty", "negative") and len(text.text.split()) > _CAPTION


def _training_words(book: PromptBook, policy: Policy) -> list[ConceptWord]:
    """The words that the book's unsafe prompts of training were made from."""
    concepts = {concept.id: concept for concept in policy.concepts}
    out: dict[tuple[str, str], ConceptWord] = {}
    for row in book.train.unsafe:
        concept = concepts[row.concept]
        if row.template != STATEMENT and row.synonym in concept.words:
            english = not any(row.synonym in words for words in concept.translations.values())
            word = ConceptWord(row.synonym, concept.id, concept.kind, english)
            out.setdefault((concept.id, row.synonym), word)
    return list(out.values())


def _held_out(book: PromptBook) -> WholeWords:
    """Finds the words and the safe concepts that only validation and test have."""
    splits = (book.validation, book.test)
    trained = {row.synonym for row in book.train.unsafe}
    words = {row.synonym for split in splits for row in split.unsafe} - trained
    groups = {p.group.replace("_", " ") for split in splits for p in split.safe_unseen if p.group}
    return WholeWords(sorted(words | groups))
