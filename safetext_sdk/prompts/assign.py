"""Second step of a prompt book: who belongs to which split.

Whole synonyms, whole templates and whole safe concepts are held out, each by a hash of its own, so that one
more of them reshuffles no other. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..policy.concept import Concept
from ..policy.schema import Policy
from .corpora.scenes import (
    FILLS,
    OBJECT_SCENES,
    STATE_SCENES,
    Frame,
    language_frames,
    one_object,
    two_objects,
)
from .corpora.templates import ONE_OBJECT, TWO_OBJECTS
from .sources import Material
from .splits import SPLITS, SplitName, assign, by_hash, latest
from .words import WholeWords, contained

NO_CONTEXT = "a plain background"
_UNSEEN_SHARES: tuple[tuple[SplitName, float], ...] = (("test", 0.12), ("validation", 0.06))
_LEAST_GROUPS = 8
"""With fewer safe concepts than this, none is held out: there would be too few to train on."""

Frames = Mapping[SplitName, Mapping[str, Sequence[Frame]]]


@dataclass(frozen=True)
class Word:
    """One way to name a concept."""

    text: str
    language: str = "en"


@dataclass(frozen=True)
class Assignment:
    """Which split each word, template and safe concept belongs to.

    Attributes:
        groups: concept -> its words, in groups of synonyms; only what the model can draw.
        word_split: word -> split. One word has one split, even when two concepts share it.
        frames: concept -> split -> family -> templates.
        template_split: (family, template) of safe prompts -> split: the very templates that unsafe prompts
            hold out.
        unseen: safe concept that training never sees -> validation or test.
        group_names: safe concept -> every word for it.
        named: safe concepts that an anchor names.
    """

    groups: Mapping[str, list[list[Word]]]
    word_split: Mapping[str, SplitName]
    frames: Mapping[str, Frames]
    template_split: Mapping[tuple[str, str], SplitName]
    unseen: Mapping[str, SplitName]
    group_names: Mapping[str, list[str]]
    named: frozenset[str]

    @cached_property
    def _words(self) -> WholeWords:
        return WholeWords(self.word_split)

    @cached_property
    def _unseen_split(self) -> dict[str, SplitName]:
        return {w: split for group, split in self.unseen.items() for w in self.group_names[group]}

    @cached_property
    def _unseen_words(self) -> WholeWords:
        return WholeWords(self._unseen_split)

    @cached_property
    def _held_words(self) -> WholeWords:
        return WholeWords(w for w, split in self.word_split.items() if split != "train")

    def split_of(self, text: str) -> SplitName | None:
        """The split that a text must go to because of the unsafe words that it names: the latest of theirs,
        or None if it names none."""
        return latest(self.word_split[w] for w in self._words.all(text))

    def unseen_split(self, text: str) -> SplitName | None:
        """The same for the held-out safe concepts that it names."""
        return latest(self._unseen_split[w] for w in self._unseen_words.all(text))

    def held_word(self, text: str) -> str | None:
        """A held-out unsafe word that the text names, or None."""
        return self._held_words.search(text)

    def held_out(self, text: str) -> str | None:
        """A held-out unsafe word, or a word for a held-out safe concept, that the text names; or None."""
        return self._held_words.search(text) or self._unseen_words.search(text)


def assign_splits(material: Material, seed: int) -> Assignment:
    """Hold out words, templates and safe concepts of what was gathered."""
    policy, plain = material.policy, bool(material.drawable)
    groups = {c.id: words_of(c, material.drawable) for c in policy.concepts}
    if any(_has(g, material.drawable) for g in groups.values()):
        # What a small world cannot draw is left to real models.
        groups = {cid: g if _has(g, material.drawable) else [] for cid, g in groups.items()}
    names = _group_names(material)
    named = _named_by_anchors(policy, names, captions=False)
    measured = {g: names[g] for g in _measured_groups(material)}
    protected = named if plain else _named_by_anchors(policy, measured, captions=True)
    return Assignment(
        groups,
        _word_split(policy, groups, seed),
        {c.id: split_frames(frames_of(c, plain=plain), seed) for c in policy.concepts},
        _template_split(seed),
        _unseen(list(measured), protected, seed),
        names,
        named,
    )


def words_of(concept: Concept, drawable: Sequence[str] = ()) -> list[list[Word]]:
    """The words of a concept in groups. ``drawable``: what the model has words for; if any of the concept's
    words is among them, only those are kept (a small model cannot be asked for what it cannot draw)."""
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
                Frame(t.text, t.context or NO_CONTEXT, "own")
                for t in concept.templates
                if t.text not in built_in
            ]
        out.update({lang: language_frames(lang, concept.kind) for lang in concept.translations})
    return out


def split_frames(frames: dict[str, list[Frame]], seed: int) -> Frames:
    """Whole templates held out, family by family."""
    out: dict[SplitName, dict[str, Sequence[Frame]]] = {s: {} for s in SPLITS}
    for family, rows in frames.items():
        where = assign([[f.text for f in rows]], seed, "template", family)
        for name in SPLITS:
            if chosen := [f for f in rows if where[f.text] == name]:
                out[name][family] = chosen
    return out


def _has(groups: list[list[Word]], drawable: Sequence[str]) -> bool:
    known = {d.casefold() for d in drawable}
    return any(w.text.casefold() in known for g in groups for w in g)


def _word_split(policy: Policy, groups: Mapping[str, list[list[Word]]], seed: int) -> dict[str, SplitName]:
    keep = contained(w.text for gs in groups.values() for g in gs for w in g)
    out: dict[str, SplitName] = {}
    for concept in policy.concepts:
        fresh = [[w.text for w in g if w.text not in out] for g in groups[concept.id]]
        out.update(assign([g for g in fresh if g], seed, "word", concept.id, keep=keep))
    return out


def _template_split(seed: int) -> dict[tuple[str, str], SplitName]:
    out: dict[tuple[str, str], SplitName] = {}
    for family, rows in (("one", ONE_OBJECT), ("two", TWO_OBJECTS)):
        out.update({(family, t): s for t, s in assign([rows], seed, "template", family).items()})
    return out


def _measured_groups(material: Material) -> list[str]:
    return sorted({g for row in material.safe if not row.train_only for g in row.groups})


def _group_names(material: Material) -> dict[str, list[str]]:
    """Every word for the safe concepts that sources name or that prompts are grouped by."""
    words = material.group_words
    groups = dict.fromkeys((*words, *_measured_groups(material)))
    return {g: [g.replace("_", " "), *words.get(g, ())] for g in groups}


def _unseen(groups: list[str], protected: frozenset[str], seed: int) -> dict[str, SplitName]:
    """Safe concepts held out as a whole; what an anchor names never is: it is what pictures turn into."""
    if len(groups) < _LEAST_GROUPS:
        return {}
    free = [g for g in by_hash(groups, seed, "unseen") if g not in protected]
    out: dict[str, SplitName] = {}
    start = 0
    for name, share in _UNSEEN_SHARES:
        count = max(1, round(share * len(groups)))
        out.update(dict.fromkeys(free[start : start + count], name))
        start += count
    return out


def _named_by_anchors(policy: Policy, names: Mapping[str, list[str]], *, captions: bool) -> frozenset[str]:
    """The safe concepts that an anchor names. ``captions``: or any part of an unsafe caption, since captions
    name people, places and second objects as well."""
    texts = [a for c in policy.concepts for a in c.anchors]
    if captions:
        texts += [t for words in [*FILLS.values(), *policy.fills.values()] for t in words]
        texts += [f.context for f in OBJECT_SCENES + STATE_SCENES]
        texts += [t.text for c in policy.concepts for t in c.templates]
    owner = {word: group for group, words in names.items() for word in words}
    return frozenset(owner[w] for w in WholeWords(owner).all(" | ".join(texts)))
