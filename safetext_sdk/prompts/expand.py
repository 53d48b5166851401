"""Third step of a prompt book: the unsafe prompts of every split, each with its anchor.

* Own prompts go where their words are; shipped pairs train; terms x templates fill the rest.
* Each draw depends only on (seed, concept, word, number): one more word changes nothing about the others.
* Rows come round robin over concepts and words: the first n rows of a test split cover as many words as can
  be.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Set

from ..policy.concept import Concept
from ..policy.minors import is_refused
from .assign import NO_CONTEXT, Assignment, Word
from .corpora.scenes import FILLS, Frame
from .corpora.templates import ADJECTIVES, COLOURS, fill
from .draws import Draws
from .prompt_book import OWN, STATEMENT, UnsafePrompt
from .sources import Material
from .splits import SPLITS, SplitName, by_hash, digest, latest, split_one
from .words import WholeWords, replace_first, tokens_of

_TRIES = 12
_IDLE_TURNS = 3
"""After so many rounds, one that brings nothing new is the last."""
_MISSPELLED_SHARE = 0.08
_WEIGHTS = {"one": 0.3, "two": 0.15, "scene": 0.55, "own": 0.6}
_SMALL_WORLD_WEIGHTS = {"one": 0.6, "two": 0.4}
_SLOT = re.compile(r"\{(\w+)\}")
_OBJECT_SLOTS = frozenset(("term", "other", "colour", "adjective"))

UnsafeRows = dict[SplitName, list[UnsafePrompt]]


def expand_unsafe(
    material: Material, assignment: Assignment, sizes: Mapping[SplitName, int], seed: int
) -> UnsafeRows:
    """Up to ``sizes`` unsafe prompts a split, without a string twice."""
    rows = _own_rows(material, assignment, seed)
    # Shipped pairs are at most two thirds of what trains.
    rows["train"] += _statements(material, assignment, 2 * sizes["train"] // 3, seed)
    expander = Expander(material, assignment, seed)
    borderline = {c.text.casefold() for c in material.borderline}
    used: set[str] = set()
    for name in reversed(SPLITS):  # test first: what is measured never gives way to what is trained on
        own = []
        for row in rows[name]:
            if row.text.casefold() not in used:
                used.add(row.text.casefold())
                own.append(row)
        new = expander.rows(name, max(0, sizes[name] - len(own)), used | borderline)
        used.update(row.text.casefold() for row in new)
        rows[name] = own + new
    return rows


def _own_rows(material: Material, assignment: Assignment, seed: int) -> UnsafeRows:
    """The policy's own unsafe prompts: in the split of the word or held-out concept that they name (of
    several the latest), else by hash of their group or text. What only trains and names something held out
    is left out."""
    out: UnsafeRows = {s: [] for s in SPLITS}
    concepts = {c.id: c for c in material.policy.concepts}
    finders = {cid: WholeWords(w.text for g in gs for w in g) for cid, gs in assignment.groups.items()}
    for row in material.own:
        found = finders[row.concept].all(row.text)
        named = [s for s in (assignment.split_of(row.text), assignment.unseen_split(row.text)) if s]
        split = latest(named)
        if row.train_only:
            if split not in (None, "train"):
                continue
            split = "train"
        word = max(found, key=len) if found else row.text
        anchor = row.anchor or _anchor_of(concepts[row.concept], row.text, word)
        split = split or split_one(seed, "own", row.group or row.text.casefold())
        out[split].append(UnsafePrompt(row.text, anchor, row.concept, word, OWN))
    return out


def _statements(material: Material, assignment: Assignment, most: int, seed: int) -> list[UnsafePrompt]:
    """Shipped pairs, for training; those that name a held-out word, unsafe or safe, are left out."""
    ranked: list[tuple[int, UnsafePrompt]] = []
    for taken in material.pairs:
        pairs = [
            UnsafePrompt(pair.text, pair.anchor, taken.concept, pair.text, STATEMENT)
            for pair in taken.pairs
            if not assignment.held_out(f"{pair.text} | {pair.anchor}")
        ]
        ranked += enumerate(by_hash(pairs, seed, "limit")[: taken.limit])
    # The first of every concept, the second of every concept, ...: a concept with many pairs does not crowd
    # out the others.
    return [pair for _, pair in sorted(ranked, key=lambda row: row[0])][:most]


def anchor_for(concept: Concept, word: str) -> str:
    """Which of the concept's anchors stands for this word."""
    if concept.anchor_choice == "spread":
        return concept.anchors[digest("anchor", concept.id, word) % len(concept.anchors)]
    return concept.anchors[0]


def _anchor_of(concept: Concept, text: str, word: str) -> str:
    """Anchor of a prompt that has none of its own: the word replaced if it is there, else the anchor as it
    stands."""
    anchor = anchor_for(concept, word)
    if "{context}" in anchor:
        return anchor.replace("{context}", NO_CONTEXT)
    if word == text or not tokens_of(word):
        return anchor
    return replace_first(text, word, re.sub(r"^(?:an?|the) ", "", anchor))


class Expander:
    """Writes the captions of one policy's terms."""

    def __init__(self, material: Material, assignment: Assignment, seed: int) -> None:
        self.concepts, self.assignment, self.seed = material.policy.concepts, assignment, seed
        self.sexual = material.sexual
        self.draws = Draws()
        self.weights = _SMALL_WORLD_WEIGHTS if material.drawable else _WEIGHTS
        self.fills: dict[str, list[str]] = {
            **FILLS,
            **{str(k): v for k, v in material.policy.fills.items()},
            "colour": COLOURS,
            "adjective": ADJECTIVES,
        }
        if material.drawable:
            # Second objects that the model can draw, that training sees, and that no anchor names.
            out = {*assignment.unseen, *assignment.named}
            others = [w for group, words in material.group_words.items() if group not in out for w in words]
            self.fills["other"] = others or self.fills["other"]

    def rows(self, split: SplitName, wanted: int, used: Set[str]) -> list[UnsafePrompt]:
        """Up to ``wanted`` new prompts of a split, balanced over concepts and words, none of ``used``
        (casefolded)."""
        queue = []
        for concept in self.concepts:
            words = [
                w
                for g in self.assignment.groups[concept.id]
                for w in g
                if self.assignment.word_split[w.text] == split
            ]
            ordered = by_hash(words, self.seed, concept.id, "order")
            queue.append([(concept, w) for w in ordered])
        longest = max((len(q) for q in queue), default=0)
        share = max(1, -(-wanted // max(1, sum(1 for q in queue if q))))
        counts = [0] * len(queue)
        taken = set(used)
        out: list[UnsafePrompt] = []
        turn = 0
        while longest and len(out) < wanted:
            before = len(out)
            for place in range(longest):
                for k, words_here in enumerate(queue):
                    # A concept with few words is asked more often: concepts count equally, not words.
                    if place >= len(words_here) or counts[k] >= share or len(out) >= wanted:
                        continue
                    row = self._row(*words_here[place], split, turn, taken)
                    if row is not None:
                        taken.add(row.text.casefold())
                        counts[k] += 1
                        out.append(row)
            turn += 1
            if len(out) == before and turn > _IDLE_TURNS:
                break  # nothing new can be written any more
        return out

    def _row(
        self, concept: Concept, word: Word, split: SplitName, turn: int, taken: Set[str]
    ) -> UnsafePrompt | None:
        for attempt in range(_TRIES):
            rng = self.draws.at(digest(self.seed, concept.id, word.text, split, turn, attempt))
            frame = self._frame(concept, word, split, rng)
            if frame is None:
                return None
            values = {name: rng.choice(words) for name, words in self.fills.items()}
            text, anchor = write(concept, word, frame, values)
            if (
                split == "train"
                and concept.misspellings
                and rng.random() < _MISSPELLED_SHARE
                and (typo := misspelled(word.text, rng))
            ):
                text, _ = write(concept, Word(typo, word.language), frame, values)
            key = text.casefold()
            if key in taken or key == anchor.casefold():
                continue
            if any(is_refused(t, sexual=concept.id in self.sexual) for t in (text, anchor)):
                continue  # a second object of the model's world, say
            if split == "train" and self.assignment.held_word(text):
                continue  # a typing error, or a part of the caption, makes a word that is held out
            label = frame.text if word.language == "en" else f"{word.language}: {frame.text}"
            return UnsafePrompt(text, anchor, concept.id, word.text, label)
        return None

    def _frame(self, concept: Concept, word: Word, split: SplitName, rng: random.Random) -> Frame | None:
        families = self.assignment.frames[concept.id][split]
        if word.language != "en":
            rows = families.get(word.language)
            return rng.choice(rows) if rows else None
        names = [f for f in families if f in self.weights]
        if not names:
            return None
        return rng.choice(families[rng.choices(names, [self.weights[n] for n in names])[0]])


def write(concept: Concept, word: Word, frame: Frame, values: Mapping[str, str]) -> tuple[str, str]:
    """One caption and its anchor prompt, with the same words in the same places."""
    anchor = anchor_for(concept, word.text)
    if frame.english:
        # Terms in other languages bring their own article.
        text = frame.text.replace("{term}", word.text)
        template = frame.english
    else:
        text = put(frame.text, word.text, values, concept.kind)
        template = frame.text
    if "{context}" in anchor:
        return text, anchor.replace("{context}", put(frame.context, "", values, concept.kind))
    return text, put(template, anchor, values, concept.kind)


def put(template: str, term: str, values: Mapping[str, str], kind: str) -> str:
    """Fill every slot of a template; an object gets its article, a state stands as it is."""
    if kind == "object":
        template = _SLOT.sub(
            lambda m: m.group(0) if m.group(1) in _OBJECT_SLOTS else values[m.group(1)], template
        )
        return fill(
            template, term, other=values["other"], colour=values["colour"], adjective=values["adjective"]
        )
    return _SLOT.sub(lambda m: term if m.group(1) == "term" else values[m.group(1)], template)


def misspelled(text: str, rng: random.Random) -> str | None:
    """One typing error inside a word of at least five letters (swapped, dropped or doubled), or None if there
    is none."""
    places = [m.span() for m in re.finditer(r"[a-z]{5,}", text)]
    if not places:
        return None
    start, end = rng.choice(places)
    i = rng.randrange(start + 1, end - 2)
    how = rng.randrange(3)
    if how == 0 and text[i] != text[i + 1]:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if how == 1 else text[:i] + text[i] + text[i:]
