"""Fourth step of a prompt book: the safe and borderline prompts of every split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

from .assign import Assignment
from .candidate import Candidate
from .prompt_book import SafePrompt, TranslatedPrompt, UnsafePrompt
from .splits import BORDERLINE_SHARES, SHARES, SPLITS, SplitName, by_hash, digest, latest, split_one

_LEAST_CAP = 20


class Placed(NamedTuple):
    """A safe prompt and where it goes. ``unseen``: it shows a concept that training never sees."""

    split: SplitName
    unseen: bool
    prompt: SafePrompt


@dataclass(frozen=True)
class Placer:
    """Gives candidates their splits: test first, no string twice, and nothing in training that is held out.

    Attributes:
        assignment, seed: what the places depend on.
        sizes: unsafe prompts wanted of each split. One source fills at most twice as many of a split, or half
            as many if it is only ballast for training.
        used: texts (casefolded) that stand in the book already; grows.
    """

    assignment: Assignment
    sizes: Mapping[SplitName, int]
    seed: int
    used: set[str]

    def borderline(self, rows: Iterable[Candidate]) -> list[Placed]:
        """Places of prompts that look unsafe; safe concepts mean nothing here."""
        return self._place(rows, {}, frozenset())

    def safe(self, rows: Iterable[Candidate], not_measured: Set[str]) -> list[Placed]:
        """Places of safe prompts. ``not_measured``: texts (casefolded) that may only train."""
        return self._place(rows, self.assignment.unseen, not_measured)

    def anchors(self, unsafe: Iterable[UnsafePrompt], most: int) -> list[SafePrompt]:
        """Anchors as safe prompts of training: what unsafe prompts turn into must itself stay where it is."""
        out: list[SafePrompt] = []
        for anchor in by_hash((u.anchor for u in unsafe), "anchors"):
            if most and anchor.casefold() not in self.used:
                self.used.add(anchor.casefold())
                most -= 1
                if not self.assignment.held_out(anchor):
                    out.append(SafePrompt(anchor, "", "anchor"))
        return out

    def _place(
        self, rows: Iterable[Candidate], unseen: Mapping[str, SplitName], not_measured: Set[str]
    ) -> list[Placed]:
        buckets = self._buckets(rows, unseen)
        out: list[Placed] = []
        for split, is_unseen in ((s, u) for s in reversed(SPLITS) for u in (False, True)):
            filled: Counter[str] = Counter()
            whole = max(_LEAST_CAP, 2 * self.sizes[split])
            ballast = max(_LEAST_CAP, self.sizes[split] // 2)
            for row in buckets[split, is_unseen]:
                if filled[row.source] >= (ballast if row.train_only and not row.whole else whole):
                    continue
                text = " ".join(row.text.split())
                key = text.casefold()
                if key in self.used or (split != "train" and key in not_measured):
                    continue
                if row.on_unsafe_word == "leave_out" and self.assignment.split_of(row.text):
                    continue
                self.used.add(key)
                filled[row.source] += 1
                # A text that training must not read takes its place all the same: what else trains does not
                # depend on what is held out.
                if split != "train" or not self.assignment.held_out(row.text):
                    which = next((k for k, g in enumerate(row.groups) if g in unseen), 0)
                    group, word = ("".join(names[which : which + 1]) for names in (row.groups, row.words))
                    out.append(Placed(split, is_unseen, _prompt(row, text, group, word)))
        return out

    def _buckets(
        self, rows: Iterable[Candidate], unseen: Mapping[str, SplitName]
    ) -> dict[tuple[SplitName, bool], list[Candidate]]:
        """Candidates by split and by whether their concept is held out, each list in the order of a hash."""
        out: dict[tuple[SplitName, bool], list[Candidate]] = {
            (s, u): [] for s in SPLITS for u in (False, True)
        }
        frames: dict[tuple[str, str], SplitName] = dict(self.assignment.template_split)
        rows = list(rows)
        scenes = self._translated_scenes(rows)
        for row in sorted(rows, key=lambda r: (digest(self.seed, "place", r.text), r.text)):
            held = {unseen[g] for g in row.groups if g in unseen}
            if len(held) > 1 or (held and row.train_only):
                continue
            unseen_concept = bool(held)
            split: SplitName = "train"
            if not row.train_only:
                split = held.pop() if held else self._by_hash(row, frames)
            named = self.assignment.split_of(row.text) if row.on_unsafe_word == "follow" else None
            if scenes and row.groups and row.groups[0] in scenes:
                named = scenes[row.groups[0]]
            if named is not None and named != "train":
                if row.train_only:
                    continue
                split = named
            out[split, unseen_concept].append(row)
        return out

    def _translated_scenes(self, rows: Iterable[Candidate]) -> dict[str, SplitName | None]:
        """Where the unsafe words of a borderline scene send it, for scenes told in several languages: the
        latest split that one of its texts names a word of, for all of them."""
        scenes = {row.groups[0] for row in rows if row.english and row.groups and not row.train_only}
        if not scenes:
            return {}
        texts: dict[str, list[str]] = {}
        for row in rows:
            if row.groups and row.groups[0] in scenes and row.on_unsafe_word == "follow":
                texts.setdefault(row.groups[0], []).append(row.text)
        splits = {scene: [self.assignment.split_of(text) for text in told] for scene, told in texts.items()}
        return {scene: latest(s for s in found if s is not None) for scene, found in splits.items()}

    def _by_hash(self, row: Candidate, frames: dict[tuple[str, str], SplitName]) -> SplitName:
        """The split of a candidate's template, else of its concept, else of its text."""
        if row.template:
            key = (row.family, row.template)
            if key not in frames:
                frames[key] = split_one(self.seed, "frame", row.template)
            return frames[key]
        shares = BORDERLINE_SHARES if row.family == "borderline" else SHARES
        return split_one(
            self.seed, "text", row.groups[0] if row.groups else row.text.casefold(), shares=shares
        )


def _prompt(row: Candidate, text: str, group: str, word: str) -> SafePrompt:
    if row.language == "en":
        return SafePrompt(text, group, row.source, word)
    return TranslatedPrompt(text, group, row.source, word, row.language, row.english)
