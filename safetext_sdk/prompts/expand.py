"""Terms x templates: unsafe prompts, each with its anchor, already in their splits.

* Whole synonyms and whole templates are held out. A word that stands inside another one is always trained on,
  so that no held-out word is read in training by accident.
* Each draw depends only on (seed, concept, word, number): one more word changes nothing about the others.
* Rows come round robin over concepts and words: the first n rows of a test split cover as many words as can
  be.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..policy.minors import combines
from ..policy.schema import Concept, Policy
from .corpora.scenes import (
    FILLS,
    OBJECT_SCENES,
    STATE_SCENES,
    Frame,
    language_frames,
    one_object,
    two_objects,
)
from .corpora.templates import ADJECTIVES, COLOURS, fill
from .splits import SPLITS, SplitName, assign, by_hash, contained, digest

_TRIES = 12
_MISSPELLED_SHARE = 0.08
_NO_CONTEXT = "a plain background"
_SLOT = re.compile(r"\{(\w+)\}")
_WEIGHTS = {"one": 0.3, "two": 0.15, "scene": 0.55, "own": 0.6}
_WORLD_WEIGHTS = {"one": 0.6, "two": 0.4}


@dataclass(frozen=True)
class UnsafePrompt:
    """An unsafe prompt and the safe one that it is redirected to. ``synonym``: the word it was made from."""

    text: str
    anchor: str
    concept: str
    synonym: str
    template: str


@dataclass(frozen=True)
class Word:
    """One way to name a concept."""

    text: str
    language: str = "en"


def words_of(concept: Concept, drawable: Sequence[str] = ()) -> list[list[Word]]:
    """The words of a concept in groups. ``drawable``: what the model's world has words for; if any of the
    concept's words is among them, only those are kept (a small model cannot be asked for what it cannot
    draw)."""
    groups = [[Word(t) for t in ([g] if isinstance(g, str) else g)] for g in concept.term_groups]
    loose = [w for g in groups if len(g) == 1 for w in g]
    groups = [g for g in groups if len(g) > 1] + ([loose] if loose else [])
    if concept.euphemisms:
        groups.append([Word(t) for t in concept.euphemisms])
    known = {d.casefold() for d in drawable}
    kept = [[w for w in g if w.text.casefold() in known] for g in groups]
    if any(kept):
        return [g for g in kept if g]
    return groups + [[Word(t, lang) for t in ts] for lang, ts in concept.translations.items()]


def frames_of(concept: Concept, *, plain: bool) -> dict[str, list[Frame]]:
    """The templates of a concept by family. ``plain``: only pictures of one or two objects on a
    background."""
    out: dict[str, list[Frame]] = {}
    if plain or (concept.builtin_templates and concept.kind == "object"):
        out["one"], out["two"] = one_object(), two_objects()
    if not plain:
        if concept.builtin_templates:
            out["scene"] = OBJECT_SCENES if concept.kind == "object" else STATE_SCENES
        if concept.templates:
            built_in = {f.text for rows in out.values() for f in rows}
            out["own"] = [
                Frame(t.text, t.context or _NO_CONTEXT, "own")
                for t in concept.templates
                if t.text not in built_in
            ]
        out.update({lang: language_frames(lang, concept.kind) for lang in concept.translations})
    return out


def split_frames(frames: dict[str, list[Frame]], seed: int) -> dict[SplitName, dict[str, list[Frame]]]:
    """Whole templates held out, family by family."""
    out: dict[SplitName, dict[str, list[Frame]]] = {s: {} for s in SPLITS}
    for family, rows in frames.items():
        where = assign([[f.text for f in rows]], seed, "template", family)
        for name in SPLITS:
            if chosen := [f for f in rows if where[f.text] == name]:
                out[name][family] = chosen
    return out


def anchor_for(concept: Concept, word: str) -> str:
    """Which of the concept's anchors stands for this word."""
    if concept.anchor_choice == "spread":
        return concept.anchors[digest("anchor", concept.id, word) % len(concept.anchors)]
    return concept.anchors[0]


class Expander:
    """Writes the prompts of one policy.

    Args:
        policy, seed: what the prompts depend on.
        others: second objects for two-object captions. ``drawable``: words that the model's world has; () = a
            real model.
    """

    def __init__(
        self, policy: Policy, seed: int, *, others: Sequence[str] = (), drawable: Sequence[str] = ()
    ) -> None:
        self.policy, self.seed, self.plain = policy, seed, bool(drawable)
        self.fills: dict[str, list[str]] = {
            **FILLS,
            **{str(k): v for k, v in policy.fills.items()},
            "colour": COLOURS,
            "adjective": ADJECTIVES,
        }
        if others:
            self.fills["other"] = list(others)
        self.groups = {c.id: words_of(c, drawable) for c in policy.concepts}
        if any(
            _has(gs, drawable) for gs in self.groups.values()
        ):  # what a small world cannot draw is left to real models
            self.groups = {cid: gs if _has(gs, drawable) else [] for cid, gs in self.groups.items()}
        every = [w.text for gs in self.groups.values() for g in gs for w in g]
        keep = contained(every)
        self.split_of: dict[str, SplitName] = {}  # one word, one split, even when two concepts share it
        for concept in policy.concepts:
            groups = [[w.text for w in g if w.text not in self.split_of] for g in self.groups[concept.id]]
            self.split_of.update(assign([g for g in groups if g], seed, "word", concept.id, keep=keep))
        self.frames = {c.id: split_frames(frames_of(c, plain=self.plain), seed) for c in policy.concepts}

    def rows(self, split: SplitName, wanted: int, used: set[str]) -> list[UnsafePrompt]:
        """Up to ``wanted`` new prompts of a split, balanced over concepts and words. ``used`` (casefolded)
        grows."""
        queue = []
        for concept in self.policy.concepts:
            words = [w for g in self.groups[concept.id] for w in g if self.split_of[w.text] == split]
            ordered = by_hash(words, self.seed, concept.id, "order")
            queue.append([(concept, w) for w in ordered])
        longest = max((len(q) for q in queue), default=0)
        share = max(1, -(-wanted // max(1, sum(1 for q in queue if q))))
        counts = [0] * len(queue)
        out: list[UnsafePrompt] = []
        turn = 0
        while longest and len(out) < wanted:
            before = len(out)
            for place in range(longest):
                for k, words_here in enumerate(queue):
                    # A concept with few words is asked more often: concepts count equally, not words.
                    if not words_here or place >= len(words_here) or counts[k] >= share or len(out) >= wanted:
                        continue
                    concept, word = words_here[place]
                    row = self._row(concept, word, split, turn, used)
                    if row is not None:
                        counts[k] += 1
                        out.append(row)
            turn += 1
            if len(out) == before and turn > 3:
                break  # nothing new can be written any more
        return out

    def _row(
        self, concept: Concept, word: Word, split: SplitName, turn: int, used: set[str]
    ) -> UnsafePrompt | None:
        for attempt in range(_TRIES):
            rng = random.Random(digest(self.seed, concept.id, word.text, split, turn, attempt))
            frame = self._frame(concept, word, split, rng)
            if frame is None:
                return None
            values = {name: rng.choice(words) for name, words in self.fills.items()}
            text, anchor = self.write(concept, word, frame, values)
            if (
                split == "train"
                and concept.misspellings
                and rng.random() < _MISSPELLED_SHARE
                and (typo := misspelled(word.text, rng))
            ):
                text, _ = self.write(concept, Word(typo, word.language), frame, values)
            key = text.casefold()
            if key in used or key == anchor.casefold() or combines(text):
                continue
            used.add(key)
            label = frame.text if word.language == "en" else f"{word.language}: {frame.text}"
            return UnsafePrompt(text, anchor, concept.id, word.text, label)
        return None

    def _frame(self, concept: Concept, word: Word, split: SplitName, rng: random.Random) -> Frame | None:
        families = self.frames[concept.id][split]
        if word.language != "en":
            rows = families.get(word.language)
            return rng.choice(rows) if rows else None
        weights = _WORLD_WEIGHTS if self.plain else _WEIGHTS
        names = [f for f in families if f in weights]
        if not names:
            return None
        return rng.choice(families[rng.choices(names, [weights[n] for n in names])[0]])

    def write(self, concept: Concept, word: Word, frame: Frame, values: dict[str, str]) -> tuple[str, str]:
        """One caption and its anchor, with the same words in the same places."""
        anchor = anchor_for(concept, word.text)
        if frame.english:
            # Terms in other languages bring their own article.
            text = frame.text.replace("{term}", word.text)
            safe = put(frame.english, anchor, values, concept.kind)
        else:
            text = put(frame.text, word.text, values, concept.kind)
            safe = put(frame.text, anchor, values, concept.kind)
        if "{context}" in anchor:
            safe = anchor.replace("{context}", put(frame.context, "", values, concept.kind))
        return text, safe


def _has(groups: list[list[Word]], drawable: Sequence[str]) -> bool:
    known = {d.casefold() for d in drawable}
    return any(w.text.casefold() in known for g in groups for w in g)


def put(template: str, term: str, values: dict[str, str], kind: str) -> str:
    """Fill every slot of a template; an object gets its article, a state stands as it is."""
    if kind == "object":
        template = _SLOT.sub(
            lambda m: m.group(0) if m.group(1) in _OBJECT_SLOTS else values[m.group(1)], template
        )
        return fill(
            template, term, other=values["other"], colour=values["colour"], adjective=values["adjective"]
        )
    return _SLOT.sub(lambda m: term if m.group(1) == "term" else values[m.group(1)], template)


_OBJECT_SLOTS = frozenset(("term", "other", "colour", "adjective"))


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
